//! Where a delivery lies between our 2xx and the handler's success: [`Inbox`].
//!
//! | inbox | survives | shared by several receivers |
//! |---|---|---|
//! | [`MemoryInbox`] | nothing | no; with `RedisGuard` (feature `redis`, Redis 7.0 or later) repeats are known to all |
//! | `SqliteInbox` (feature `sqlite`) | kill -9, power loss | on one machine |
//! | `PostgresInbox` (feature `postgres`) | kill -9, power loss | yes |
//!
//! An inbox holds both what must be handled and what was seen. In the SQL ones both are one row, written by one
//! statement: there is no moment at which a delivery counts as seen and is not there to be handled.
//!
//! ```text
//!            record            claim              settle
//!  request ─────────▶ pending ───────▶ leased ──┬─▶ done      (remembered for `replay.retention`)
//!                        ▲  ▲                   ├─▶ pending   (failed: due after its backoff)
//!                        │  └── lease ran out ──┤
//!                        └───── replayed ◀── dead letter
//! ```
//!
//! A receiver that dies while it handles a delivery leaves a lease, which runs out; the delivery is then handled again.
//! An inbox that cannot be reached when the handlers have ended is tried until then. So a handler succeeds at least once,
//! and exactly once unless the process dies, or the inbox stays away until the lease has run out, between the handler's
//! end and the record of it: make effects idempotent by [`Delivery::id`](crate::Delivery::id). Leases run by the clock of
//! the database or, with SQLite, of the machine, which must not be set ahead meanwhile.

mod memory;
#[cfg(feature = "redis")]
mod redis_guard;
mod replay_guard;
mod seen;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use crate::{Error, WebhookConfig};

pub use memory::MemoryInbox;
#[cfg(feature = "redis")]
pub use redis_guard::RedisGuard;
pub use replay_guard::{ReplayGuard, Reservation};
#[cfg(feature = "postgres")]
pub use sql::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use sql::SqliteInbox;

/// A verified delivery, to be recorded. Times are in milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The delivery's id.
    pub id: String,
    /// A digest of the body, when that must be new too.
    pub body_key: Option<String>,
    /// The event's name.
    pub event: String,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub received_at: i64,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// It is new, and will be handled.
    New,
    /// It was recorded before.
    Duplicate,
    /// There is no room, somebody else is recording it at this moment, or the inbox is closed: the sender must come again.
    Busy,
}

/// A delivery handed out to be handled.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery's id.
    pub id: String,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub received_at: i64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What earlier attempts said of handlers that need not be called again, to be kept as it is.
    pub handled: Vec<String>,
    /// Proves that this lease is still ours.
    pub lease: i64,
}

/// How the handling of a delivery ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Settlement {
    /// Every handler succeeded.
    Done,
    /// Try again at `due_at`; `handled` need not be called again.
    Retry {
        /// When, in milliseconds since 1970.
        due_at: i64,
        /// The handlers that have succeeded or failed for good so far.
        handled: Vec<String>,
        /// Why.
        reason: String,
    },
    /// It was given out and its handling was cut off: give it out again, and do not count the attempt; `handled` need not
    /// be called again.
    Release {
        /// The handlers that had succeeded or failed for good by then.
        handled: Vec<String>,
    },
    /// No further attempt.
    Dead {
        /// The handlers that succeeded.
        handled: Vec<String>,
        /// Why.
        reason: String,
    },
}

/// A delivery that no attempt could handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The delivery's id.
    pub id: String,
    /// The event's name.
    pub event: String,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed. May quote the handler's error.
    pub reason: String,
    /// When it came, in milliseconds since 1970.
    pub received_at: i64,
    /// When it was given up, in milliseconds since 1970.
    pub died_at: i64,
    /// The body.
    #[serde(skip)]
    pub body: Bytes,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Dead letters dropped, because there were more than are kept.
    pub dropped_dead_letters: u64,
}

/// The limits an inbox keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// See [`WebhookConfig::source`].
    pub source: String,
    /// See [`QueueConfig::capacity`](crate::QueueConfig::capacity).
    pub capacity: usize,
    /// See [`QueueConfig::max_bytes`](crate::QueueConfig::max_bytes).
    pub max_bytes: usize,
    /// See [`QueueConfig::max_dead_letters`](crate::QueueConfig::max_dead_letters).
    pub max_dead_letters: usize,
    /// See [`ReplayConfig::capacity`](crate::ReplayConfig::capacity).
    pub remembered: usize,
    /// See [`ReplayConfig::retention`](crate::ReplayConfig::retention).
    pub retention: Duration,
    /// The least time that an id is remembered, however full it is: twice the tolerance, or twice
    /// [`WebhookConfig::max_event_age`] where that is longer and the scheme signs no time.
    pub retention_floor: Duration,
}

impl From<&WebhookConfig> for Limits {
    fn from(config: &WebhookConfig) -> Self {
        Self {
            source: config.source.clone(),
            capacity: config.queue.capacity,
            max_bytes: config.queue.max_bytes,
            max_dead_letters: config.queue.max_dead_letters,
            remembered: config.replay.capacity,
            retention: config.replay.retention,
            retention_floor: config.replay_floor(),
        }
    }
}

/// Keeps deliveries until they are handled, and knows those that came before. Times are milliseconds since 1970.
///
/// Dropping any of these futures must leave the inbox whole: the operation happened, or it did not.
#[async_trait]
pub trait Inbox: fmt::Debug + Send + Sync + 'static {
    /// Whether a recorded delivery survives the process.
    fn is_durable(&self) -> bool;

    /// Records a delivery unless it was recorded before. After [`Recorded::New`] it will be given out.
    ///
    /// # Errors
    /// [`Error::Store`]; the sender is then told to come again.
    async fn record(&self, arrival: Arrival) -> Result<Recorded, Error>;

    /// Ends when a delivery was recorded, or refused late, whose request may be gone, so that nobody else tells the
    /// dispatcher. Provided: never ends. For an inbox that is not durable and whose [`record`](Self::record) goes on after it was dropped; without
    /// this such a delivery waits up to a minute.
    async fn recorded(&self) {
        std::future::pending().await
    }

    /// Closes the inbox if nothing waits in it and nothing is being recorded, as one step; whether it is closed. From then on
    /// [`record`](Self::record) says [`Recorded::Busy`] to what is new, also where it was begun before. Asked when a drain of
    /// an inbox that is not durable has come to its end: what is recorded after it is handled by nobody. Provided: true.
    /// For an inbox whose [`record`](Self::record) goes on after it was dropped.
    fn close_if_idle(&self) -> bool {
        true
    }

    /// Closes the inbox whatever is in it, as at the deadline of a drain. Provided: nothing.
    fn close(&self) {}

    /// Gives out up to `limit` deliveries that are due, soonest first, for the time of `lease`. Where receivers have clocks
    /// of their own, leases run by the store's: one that is ahead must not take what another has just been given.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn claim(&self, limit: usize, now: i64, lease: Duration) -> Result<Vec<Claimed>, Error>;

    /// Ends a lease. Without effect when the lease had run out and somebody else has the delivery.
    ///
    /// # Errors
    /// [`Error::Store`]; the caller repeats it until the lease runs out, and the delivery is given out again then.
    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error>;

    /// When the next delivery is due, leased ones left out where that is known; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn next_due(&self) -> Result<Option<i64>, Error>;

    /// Deliveries not handled yet, as last known; asks nobody.
    fn depth(&self) -> u64;

    /// Dead letters as last known; asks nobody.
    fn dead_letter_count(&self) -> u64;

    /// Up to `limit` dead letters, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Makes a dead letter due now, with all its attempts before it; false when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn replay(&self, id: &str, now: i64) -> Result<bool, Error>;

    /// Forgets a dead letter; a repeat of it by the sender is still known. False when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn discard(&self, id: &str, now: i64) -> Result<bool, Error>;

    /// Removes what need not be kept any longer. Called about once a minute.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn sweep(&self, now: i64) -> Result<Swept, Error>;
}
