//! Requests in, deliveries recorded, answers out: [`Receiver`].
//!
//! | the request | answer |
//! |---|---|
//! | a new delivery, recorded | 200 `{"status":"accepted"}` |
//! | a delivery recorded before | 200 `{"status":"duplicate"}`, no second effect |
//! | not the sender's, or not recent | 401 |
//! | the sender's, but not an event | 400 |
//! | longer than `max_body_bytes` | 413, as soon as that is known |
//! | body not whole after `read_timeout` | 408 |
//! | not a POST | 405 |
//! | no room, store out of order, stopping | 503 with `Retry-After`: the sender comes again |
//!
//! Refusals close the connection, so that a sender stops sending. Nothing is answered 2xx that was not recorded.
//!
//! **Order of the checks.** Method, free place, declared length, headers of the scheme, body, signature, event,
//! record. A stranger without well-formed headers never gets a body read, and nothing is parsed before it is verified.
//!
//! **On cancel.** A request that goes away was recorded or was not; nothing is half done.

mod answer;
mod body;
mod builder;
mod handle;
mod intake;
#[cfg(feature = "axum")]
mod router;
#[cfg(feature = "server")]
mod server;
mod service;

pub use builder::ReceiverBuilder;
pub use handle::{Receiver, ShutdownReport};
pub use service::{WebhookFuture, WebhookService};
