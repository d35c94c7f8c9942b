//! Which came first, the read from the origin or the delete.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// Counts deletes of this process, over all its caches. A number, not a time, so that two events in the same
/// nanosecond (or under a paused clock) still have an order.
static DELETES: AtomicU64 = AtomicU64::new(1);

/// The moment at which reading a value from its origin began. Take it before the read.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    pub(crate) at: Instant,
    pub(crate) deletes: u64,
}

impl AsOf {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self { deletes: DELETES.load(Ordering::SeqCst), at: Instant::now() }
    }

    /// The same moment, but earlier by the clock (not among this process's deletes).
    ///
    /// A level with a clock of its own, such as Redis, counts back from when a write arrives. Who writes to one directly
    /// moves the moment back by what the write may take to get there; the
    /// [`MultiLevelCache`](crate::MultiLevelCache) does so by the level's timeout.
    #[must_use]
    pub fn earlier(self, by: std::time::Duration) -> Self {
        Self { at: self.at.checked_sub(by).unwrap_or(self.at), ..self }
    }

    /// Whether this process deleted anything after `earlier` and before this.
    pub(crate) fn is_after_delete_since(self, earlier: Self) -> bool {
        self.deletes > earlier.deletes
    }

    /// Time since then.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.at.elapsed()
    }
}

/// The number of a new delete: above that of every [`AsOf`] taken before.
pub(crate) fn next_delete() -> u64 {
    DELETES.fetch_add(1, Ordering::SeqCst).saturating_add(1)
}
