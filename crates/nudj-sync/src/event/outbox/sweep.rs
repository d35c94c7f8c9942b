//! How long a sweep goes on.

use std::time::Duration;

use tokio::time::Instant;

/// A sweep that could not end in this time leaves the rest to the next: less than a consumer waits for it.
const LONGEST: Duration = Duration::from_secs(5);

/// Deletes in portions, so that no statement holds its table for long, until there is no more.
pub(super) struct Sweep {
    since: Instant,
    is_done: bool,
}

impl Sweep {
    /// Rows of one statement.
    pub(super) const PORTION: i64 = 10_000;
    /// Keys of one statement.
    pub(super) const KEYS: i64 = 1000;

    pub(super) fn begin() -> Self {
        Self { since: Instant::now(), is_done: false }
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.is_done && self.has_time()
    }

    pub(super) fn has_time(&self) -> bool {
        self.since.elapsed() < LONGEST
    }

    /// A portion that was not full was the last.
    pub(super) fn deleted(&mut self, rows: u64) {
        self.is_done = rows < Self::PORTION.unsigned_abs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_rows_or_with_its_time() {
        let mut sweep = Sweep::begin();
        sweep.deleted(10_000);
        assert!(sweep.goes_on());
        sweep.deleted(9_999);
        assert!(!sweep.goes_on());
        let mut sweep = Sweep::begin();
        sweep.deleted(10_000);
        tokio::time::advance(LONGEST).await;
        assert!(!sweep.goes_on());
    }
}
