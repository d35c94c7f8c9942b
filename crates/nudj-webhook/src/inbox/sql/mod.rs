//! The SQL inboxes. One table, one row per delivery; a row is both the delivery and the note that it was seen.
//!
//! Leases are part of `due_at`: who claims a delivery moves it to the lease's end, and it is due again if nobody
//! settled it by then. In PostgreSQL, where each receiver has a clock of its own, `leased_until` must be over as well, by
//! the database's clock. Every operation is one statement, so there is nothing to roll back.
//!
//! The table is made by `migrate` when the inbox is opened, never changed in a way that an older version could not
//! read, and may live in a database of yours: `nudj_webhook_inbox`.

#[macro_use]
mod operations;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::PostgresInbox;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteInbox;

use std::sync::atomic::{AtomicU64, Ordering};

/// The last known figures, so that a request need not count rows.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pending: AtomicU64,
    dead: AtomicU64,
}

impl Gauges {
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, pending: i64, dead: i64) {
        self.pending.store(u64::try_from(pending).unwrap_or(0), Ordering::Relaxed);
        self.dead.store(u64::try_from(dead).unwrap_or(0), Ordering::Relaxed);
    }

    /// Takes a place in the queue, which is given back on drop unless kept.
    pub(super) fn place(&self, capacity: usize) -> Option<Place<'_>> {
        let capacity = capacity as u64;
        let taken = self
            .pending
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |depth| (depth < capacity).then_some(depth + 1));
        taken.ok().map(|_| Place(Some(self)))
    }

    pub(super) fn move_by(&self, pending: i64, dead: i64) {
        let add = |gauge: &AtomicU64, by: i64| {
            let _ = gauge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old.saturating_add_signed(by)));
        };
        add(&self.pending, pending);
        add(&self.dead, dead);
    }
}

/// A place in the queue.
pub(super) struct Place<'a>(Option<&'a Gauges>);

impl Place<'_> {
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(gauges) = self.0 {
            gauges.move_by(-1, 0);
        }
    }
}

/// The handlers that succeeded, as the column holds them.
pub(super) fn write_handled(handled: &[String]) -> String {
    serde_json::to_string(handled).unwrap_or_default()
}

/// An unreadable list is an empty one: handlers are then called again, none is left out.
pub(super) fn read_handled(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_default()
}
