//! An in-process Nudj API with scriptable faults, for tests, demos and your own code.

mod api;
mod body;
mod builder;
mod clock;
mod control;
mod data;
mod error;
mod exchange;
mod faults;
mod instance;
mod log;
mod server;
mod service;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod webhook;

pub use builder::Builder;
pub use control::Control;
pub use data::Seed;
pub use error::{Disconnected, MockError};
pub use faults::{Fault, FaultId};
pub use log::{Received, RecordedRequest};
pub use server::MockNudj;
pub use service::{BoxError, MockService};
pub use store::Records;
pub use webhook::{WebhookDelivery, WebhookEvent, webhook_signature};
