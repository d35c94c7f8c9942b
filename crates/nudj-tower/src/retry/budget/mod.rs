//! How much load repeats may add, shared by all who repeat.

mod ledger;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::ledger::{GRANULE, Ledger};
use super::BudgetConfig;
use crate::ConfigError;

/// A handle to a retry budget; clones share it. Give one to several layers so that together they stay within it.
///
/// Whenever a repeat is granted, those granted and not yet sent and those sent in the 10 s before are, this one included, at
/// most `ratio` x the calls begun in these 10 s + 10 x `min_per_second`. A repeat counts from its grant until 10 s after it was
/// sent, so waits that end together do not break the bound at the server either.
///
/// Memory is fixed (about 6 KiB). A call costs one atomic addition on a line of its thread's own; the clock is read for one call in
/// many when calls are frequent, the more the rarer. What that blurs is dated back: the budget may grant a little less than the bound,
/// never more.
#[derive(Clone)]
pub struct RetryBudget(Arc<Shared>);

struct Shared {
    shards: [Shard; SHARDS],
    /// The clock is read when a shard's count has none of these bits set.
    skip: AtomicU64,
    ledger: Mutex<(Ledger, Pace)>,
}

/// Counts calls of some threads, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

const SHARDS: usize = 8;
/// At the most every 256th call of a shard reads the clock.
const MAX_SKIP: u64 = 255;

/// When the clock was last read for a call.
#[derive(Default)]
struct Pace(Option<Instant>);

/// A repeat that was granted. Dropped without being spent, it goes back.
#[derive(Debug)]
pub struct Reservation(Option<RetryBudget>);

impl RetryBudget {
    /// A budget of its own.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of range.
    pub fn new(config: BudgetConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::unchecked(config))
    }

    pub(super) fn unchecked(config: BudgetConfig) -> Self {
        let ledger = Ledger::new(config.ratio, config.min_per_second);
        Self(Arc::new(Shared {
            shards: Default::default(),
            skip: AtomicU64::new(0),
            ledger: Mutex::new((ledger, Pace::default())),
        }))
    }

    /// Counts a call. Calls, not attempts: repeats earn nothing.
    #[inline]
    pub fn count_call(&self) {
        let shard = SHARD.try_with(|shard| *shard).unwrap_or(0);
        let count = self.0.shards[shard].0.fetch_add(1, Relaxed).wrapping_add(1);
        if count & self.0.skip.load(Relaxed) == 0 {
            self.date_calls();
        }
    }

    /// Asks for one repeat; `None` when the budget is spent.
    #[must_use]
    pub fn reserve(&self, now: Instant) -> Option<Reservation> {
        let granted = {
            let (ledger, _) = &mut *self.0.ledger.lock();
            ledger.count(self.total(), 0, now.into_std());
            ledger.reserve(now.into_std())
        };
        granted.then(|| Reservation(Some(self.clone())))
    }

    /// How many repeats would be granted now.
    #[must_use]
    pub fn left(&self) -> u64 {
        let now = Instant::now().into_std();
        let (ledger, _) = &mut *self.0.ledger.lock();
        ledger.count(self.total(), 0, now);
        ledger.left(now)
    }

    fn total(&self) -> u64 {
        self.0.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.0.load(Relaxed)))
    }

    #[cold]
    fn date_calls(&self) {
        let (ledger, pace) = &mut *self.0.ledger.lock();
        let now = Instant::now();
        ledger.count(self.total(), 1, now.into_std());
        self.0.skip.store(pace.next(self.0.skip.load(Relaxed), now), Relaxed);
    }
}

impl Pace {
    /// Reads the clock less often while calls come fast, and for every call as soon as they do not.
    fn next(&mut self, skip: u64, now: Instant) -> u64 {
        let since = self.0.replace(now).map_or(Duration::MAX, |then| now.saturating_duration_since(then));
        if since < GRANULE / 8 {
            (skip << 1 | 1).min(MAX_SKIP)
        } else if since < GRANULE {
            skip
        } else {
            0
        }
    }
}

impl Reservation {
    /// The repeat is being sent now.
    pub fn spend(mut self, now: Instant) {
        if let Some(budget) = self.0.take() {
            budget.0.ledger.lock().0.spend(now.into_std());
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(budget) = self.0.take() {
            budget.0.ledger.lock().0.give_back();
        }
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").finish_non_exhaustive()
    }
}

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Relaxed) % SHARDS;
}

#[cfg(test)]
mod tests;
