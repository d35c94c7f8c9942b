//! The event bus.

mod conformance;
mod consumer;
mod harness;
mod memory;
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres"))]
mod outbox;
#[cfg(feature = "outbox-postgres")]
mod postgres;
#[cfg(feature = "outbox-sqlite")]
mod sqlite;
