//! What the cache did, to be read by a table, a dashboard or a metrics exporter.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Serialize;

/// Everything counted since the cache was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// One row per level, L1 first.
    pub levels: Vec<LevelStats>,
    /// Lookups that some level answered. A stale HTTP answer counts here, and under `loads` if the origin was asked.
    pub hits: u64,
    /// Lookups that none answered.
    pub misses: u64,
    /// Calls to the origin that a miss or a revalidation led to.
    pub loads: u64,
    /// Calls that waited for another's origin call and took its answer.
    pub coalesced: u64,
    /// HTTP: answers the origin confirmed with 304.
    pub revalidated: u64,
    /// HTTP: answers served stale, while revalidating or because of an error.
    pub stale: u64,
    /// HTTP: calls that went past the cache (method, directives, no-store, size).
    pub passed: u64,
    /// Keys and tags invalidated by this process.
    pub invalidations: u64,
    /// Keys and tags invalidated by other processes.
    pub remote_invalidations: u64,
    /// Times the memory level was emptied because the invalidation channel had been lost.
    pub memory_dropped: u64,
    /// Whether invalidations of other processes arrive. `None` without a channel.
    pub channel_up: Option<bool>,
}

/// One level's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LevelStats {
    /// The level's name.
    pub name: &'static str,
    /// Lookups it answered.
    pub hits: u64,
    /// Lookups it had nothing for.
    pub misses: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Operations given up after the level's timeout.
    pub timeouts: u64,
    /// Operations not tried, because the level was down or deletes had been given up.
    pub skipped: u64,
    /// Entries that could not be read: another schema or layout.
    pub unreadable: u64,
    /// Deletes that did not reach the level and were given up, being too many. This process then reads nothing from it
    /// until its TTL and a minute have passed; other processes may read what is stale there up to its TTL.
    pub lost_deletes: u64,
    /// Deletes that did not reach the level yet; until they do, what they name is not read from it.
    pub pending_deletes: u64,
    /// Entries it holds, where it knows.
    pub entries: Option<u64>,
    /// Bytes it holds, where it knows.
    pub bytes: Option<u64>,
    /// Whether values are read from it.
    pub up: bool,
}

impl LevelStats {
    /// Hits among the lookups it was asked, 0 to 1; 0 when none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits.saturating_add(self.misses) {
            0 => 0.0,
            asked => self.hits as f64 / asked as f64,
        }
    }
}

const SHARDS: usize = 8;

/// A counter whose writers on different threads do not share a cache line.
#[derive(Debug, Default)]
pub(crate) struct Counter([Shard; SHARDS]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

thread_local! {
    static SHARD: usize = {
        let mut hasher = DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
    };
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        let shard = SHARD.try_with(|shard| *shard).unwrap_or(0);
        if let Some(shard) = self.0.get(shard) {
            shard.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// What one level counts.
#[derive(Debug, Default)]
pub(crate) struct LevelCounters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) errors: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) skipped: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) lost_deletes: Counter,
}

impl LevelCounters {
    pub(crate) fn read(&self, name: &'static str) -> LevelStats {
        LevelStats {
            name,
            hits: self.hits.get(),
            misses: self.misses.get(),
            errors: self.errors.get(),
            timeouts: self.timeouts.get(),
            skipped: self.skipped.get(),
            unreadable: self.unreadable.get(),
            lost_deletes: self.lost_deletes.get(),
            ..LevelStats::default()
        }
    }
}

/// What the whole cache counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) loads: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) revalidated: Counter,
    pub(crate) stale: Counter,
    pub(crate) passed: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) remote_invalidations: Counter,
    pub(crate) memory_dropped: Counter,
}
