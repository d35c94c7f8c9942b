//! From the inbox to the handlers: [`Handler`], retries, dead letters.

mod attempt;
mod dispatcher;
mod handled;
mod handler;
mod schedule;
mod work;

pub(crate) use dispatcher::{Dispatcher, Phase};
pub(crate) use handler::Handlers;
pub use handler::{Delivery, Handler, Permanent};
