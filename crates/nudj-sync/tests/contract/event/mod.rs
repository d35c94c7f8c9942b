//! The event bus.

mod conformance;
mod consumer;
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres", feature = "nats"))]
mod drain;
mod flow;
mod harness;
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres", feature = "nats"))]
mod kill;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_bounds;
#[cfg(feature = "nats")]
mod nats_waiting;
#[cfg(any(feature = "nats", feature = "outbox-postgres"))]
mod outage;
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres"))]
mod outbox;
mod poison;
#[cfg(feature = "outbox-postgres")]
mod postgres;
mod random;
#[cfg(feature = "outbox-sqlite")]
mod sqlite;
