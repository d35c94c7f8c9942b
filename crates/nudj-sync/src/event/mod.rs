//! Events on a bus, each handled at least once and those of one key in order: in memory, in a transactional outbox, on NATS JetStream.
//!
//! ```
//! use std::time::Duration;
//! use nudj_sync::event::{Consumer, Delivery, Event, EventBus, MemoryBus, MemoryConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nudj_sync::BoxError> {
//! let bus = MemoryBus::new(MemoryConfig::default())?;
//! let (done, mut seen) = tokio::sync::mpsc::unbounded_channel();
//! let consumer = Consumer::builder(bus.clone())
//!     .on("user.registered", |delivery: Delivery| async move { delivery.event.follow_up("user.welcomed", ()) })
//!     .on("user.welcomed", move |delivery: Delivery| {
//!         let sent = done.send(delivery.event.key);
//!         async move { sent }
//!     })
//!     .start()?;
//! bus.publish(&Event::new("user.registered", "u-1", ())?).await?;
//! assert_eq!(seen.recv().await.as_deref(), Some("u-1"));
//! consumer.shutdown(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! | bus | survives | for |
//! |---|---|---|
//! | [`MemoryBus`] | nothing; bounded, publishers wait for room | tests, and what can be made again |
//! | `SqliteOutbox` (feature `outbox-sqlite`) | kill -9, power loss | one machine: events in the transaction of the business change |
//! | `PostgresOutbox` (feature `outbox-postgres`) | kill -9, power loss | the same, with workers on many machines |
//! | `NatsBus` (feature `nats`) | a consumer's death, its own restart | many machines, without a database |
//!
//! ```text
//!            publish           claim              settle
//!  producer ─────────▶ waiting ──────▶ leased ──┬─▶ done, and follow-ups published in the same step
//!                       ▲  ▲                    ├─▶ waiting (failed: due after its backoff)
//!                       │  └── lease ran out ───┤
//!                       └───── replayed ◀── dead letter
//! ```
//!
//! # Promises
//!
//! - **At least once.** A process that dies while it handles an event leaves a lease, which runs out; the event is then handled again. So
//!   a handler is called again when the process dies between its effect and the record of it. Make effects idempotent by [`Event::id`];
//!   [`ProcessedIds`] leaves out handlers that have succeeded, and in one database effect and note can be one transaction.
//!   Exactly-once delivery does not exist here.
//! - **In order per key**, retries included: while an event waits for its backoff, the later ones of its key wait too; other keys do not
//!   (on JetStream: other partitions). A dead letter holds its key until it is replayed or discarded, or lets it pass:
//!   [`AfterDeadLetter`]. A handler that goes on working after its time-out, in a task of its own, is outside of this.
//! - **Bounded.** Workers, attempts, follow-ups, remembered ids and waiting are limited; the memory bus makes publishers wait. An outbox
//!   is as large as its disk: watch [`EventBus::lag`].
//! - **Drain.** [`Consumer::shutdown`] claims nothing more, finishes what is in hand, gives back what the deadline cuts off;
//!   that comes again as a repeat, since its handler may have had its effect.
//!
//! # On cancel, on panic
//!
//! A publication whose future is dropped happened or did not; publish it again, the id makes it one. A handler that panics has failed an
//! attempt.
//!
//! # Mistakes to avoid
//!
//! Publishing inside a handler what follows from the event: if the process dies in between, it is published and the event handled again
//! (same id: harmless; a new id: twice), and on a full memory bus the handler waits for its own end. Return it instead, made by
//! [`Event::follow_up`], and by [`Event::follow_up_as`] where several have one topic.
//!
//! One store of processed ids for consumers whose buses have one name, or a handler put in front of another of its topic: what one has
//! done is taken for done by the other. Give the consumer a name ([`ConsumerBuilder::name`]), and the handler one
//! ([`ConsumerBuilder::named`]).
//!
//! Source: the seed's event-driven pattern, whose flow is [`UserFlow`].

mod bus;
mod config;
mod consumer;
mod forward;
mod handler;
mod memory;
mod model;
#[cfg(feature = "nats")]
mod nats;
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres"))]
mod outbox;
mod processed;
mod schedule;
mod user_flow;

pub use bus::EventBus;
pub use config::ConsumerConfig;
pub use consumer::{Consumer, ConsumerBuilder, DrainReport, Snapshot};
pub use forward::forward_to;
pub use handler::{Delivery, FollowUps, Handler, Handling, Permanent};
pub use memory::{MemoryBus, MemoryConfig};
pub use model::{AfterDeadLetter, Claimed, DeadLetter, Event, Lag, Published, Settlement};
#[cfg(feature = "nats")]
pub use nats::{NatsBus, NatsConfig};
#[cfg(any(feature = "outbox-sqlite", feature = "outbox-postgres"))]
pub use outbox::OutboxConfig;
#[cfg(feature = "outbox-postgres")]
pub use outbox::{PostgresOutbox, PostgresProcessed};
#[cfg(feature = "outbox-sqlite")]
pub use outbox::{SqliteOutbox, SqliteProcessed};
pub use processed::{MemoryProcessed, ProcessedIds};
pub use user_flow::{
    USER_REGISTERED, USER_SYNC_REQUESTED, USER_SYNCED, UserDirectory, UserEvent, UserFlow, UserSynced,
};
