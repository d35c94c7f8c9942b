//! From the inbox to the handlers: [`Handler`], retries, dead letters.

mod attempt;
mod dispatcher;
mod handler;
mod schedule;

pub(crate) use dispatcher::{Dispatcher, Phase};
pub(crate) use handler::Handlers;
pub use handler::{Delivery, Handler, Permanent};
