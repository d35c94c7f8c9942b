//! The level in this process's memory.
//!
//! moka bounds it by bytes and evicts the least useful (TinyLFU). What moka has no room for stands here: deleting by
//! tag, and refusing a value whose read began before its delete. Both are one table of numbers: a delete writes its
//! number into the cell its name hashes to, and an entry counts only while no cell of its key and tags holds a number
//! above its own. Fixed memory, constant time, nothing to clean up; two names that share a cell cost a miss, never a
//! stale hit. There are about as many cells as the level has room for entries, so a delete takes one stranger along at
//! most, on average.
//!
//! moka's blocking flavour is used on purpose: a hit is then answered without a future on the heap.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant as StdInstant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{AsOf, CacheLevel, Found, LevelError, Usage, Write, sequence::next_delete};
use crate::{entry::Entry, error::CacheError};

/// The memory level's limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes it may hold, keys, decoded values and bookkeeping included. Default 64 MiB, at least 64 KiB. What does
    /// not fit evicts what is used least.
    pub max_bytes: u64,
    /// Longest time an entry is kept. Default 300 s (the seed's).
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, ttl: Duration::from_secs(300) }
    }
}

impl MemoryConfig {
    pub(crate) fn validate(&self) -> Result<(), CacheError> {
        if self.max_bytes < 64 << 10 {
            return Err(CacheError::config("memory.max_bytes", "must be at least 65536"));
        }
        if self.ttl.is_zero() {
            return Err(CacheError::config("memory.ttl", "must be above 0"));
        }
        Ok(())
    }
}

/// One cell of 8 bytes for each KiB the level may hold, within these bounds.
const CELLS: (u64, u64) = (1 << 12, 1 << 20);

/// Values in this process's memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLevel(Arc<Inner>);

struct Inner {
    slots: moka::sync::Cache<Arc<str>, Arc<Slot>>,
    cells: Box<[AtomicU64]>,
    /// Number of the last delete of everything.
    floor: AtomicU64,
    /// Which names share a cell.
    seed: u64,
}

struct Slot {
    entry: Entry,
    expires: Instant,
    /// Deletes seen when reading the value began.
    deletes: u64,
    /// Cells of the key and of each tag.
    cells: Box<[usize]>,
}

impl MemoryLevel {
    /// An empty level that holds at most `max_bytes` bytes (near enough: moka evicts in batches).
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self::with_seed(max_bytes, fastrand::u64(..))
    }

    /// The same, with the names that share a cell by chance always the same: for tests that count on what stays.
    #[must_use]
    pub fn with_seed(max_bytes: u64, seed: u64) -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &Arc<str>, slot: &Arc<Slot>| slot.weight(key))
            .expire_after(ByTtl)
            .build();
        let cells = (max_bytes / 1024).clamp(CELLS.0, CELLS.1);
        let cells = (0..cells).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { slots, cells, floor: AtomicU64::new(0), seed }))
    }

    /// The entry under `key`, when it is there, within its TTL and not deleted.
    #[must_use]
    pub fn lookup(&self, key: &str) -> Option<Found> {
        self.lookup_at(key, Instant::now())
    }

    pub(crate) fn lookup_at(&self, key: &str, now: Instant) -> Option<Found> {
        let slot = self.0.slots.get(key)?;
        let remaining = slot.expires.saturating_duration_since(now);
        if remaining.is_zero() || !self.counts(&slot) {
            self.0.slots.invalidate(key);
            return None;
        }
        Some(Found { entry: slot.entry.clone(), remaining })
    }

    /// Keeps an entry.
    pub fn insert(&self, key: &str, entry: &Entry, write: Write) {
        let now = Instant::now();
        // A TTL past the end of the clock is cut to a day: this level's own TTL is far below that anyway.
        let Some(expires) = now.checked_add(write.ttl).or_else(|| now.checked_add(Duration::from_secs(86_400))) else {
            return;
        };
        let as_of = write.as_of.unwrap_or_else(AsOf::now);
        let cells = std::iter::once(key).chain(entry.tags()).map(|name| self.cell(name)).collect();
        let slot = Arc::new(Slot { entry: entry.clone(), expires, deletes: as_of.deletes, cells });
        if !write.ttl.is_zero() && self.counts(&slot) {
            self.0.slots.insert(key.into(), slot);
        }
    }

    /// Removes a key, and makes void what is being read for it now.
    pub fn remove(&self, key: &str) {
        self.void(key);
        self.0.slots.invalidate(key);
    }

    /// Removes what has this tag, and makes void what is being read for it now.
    pub fn remove_tag(&self, tag: &str) {
        self.void(tag);
    }

    /// Removes everything, and makes void what is being read now.
    pub fn clear(&self) {
        self.0.floor.fetch_max(next_delete(), Ordering::SeqCst);
        self.0.slots.invalidate_all();
    }

    /// Does the eviction that is due now, not later. For tests and figures.
    pub fn settle(&self) {
        self.0.slots.run_pending_tasks();
    }

    fn cell(&self, name: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        self.0.seed.hash(&mut hasher);
        name.hash(&mut hasher);
        let cells = u64::try_from(self.0.cells.len()).unwrap_or(u64::MAX);
        usize::try_from(hasher.finish().checked_rem(cells).unwrap_or(0)).unwrap_or(0)
    }

    fn void(&self, name: &str) {
        let number = next_delete();
        if let Some(cell) = self.0.cells.get(self.cell(name)) {
            cell.fetch_max(number, Ordering::SeqCst);
        }
    }

    fn counts(&self, slot: &Slot) -> bool {
        let seen = |cell: &AtomicU64| cell.load(Ordering::SeqCst) <= slot.deletes;
        seen(&self.0.floor) && slot.cells.iter().filter_map(|cell| self.0.cells.get(*cell)).all(seen)
    }
}

impl Slot {
    fn weight(&self, key: &str) -> u32 {
        // moka's node, its two queue entries and its timer, and this slot: measured with a counting allocator.
        const BOOKKEEPING: usize = 400;
        let weight = BOOKKEEPING
            .saturating_add(key.len())
            .saturating_add(self.cells.len().saturating_mul(8))
            .saturating_add(self.entry.weight());
        u32::try_from(weight).unwrap_or(u32::MAX)
    }
}

/// Lets moka free an entry soon after its TTL. It never decides whether an entry counts: `lookup_at` does, on tokio's
/// clock.
struct ByTtl;

impl moka::Expiry<Arc<str>, Arc<Slot>> for ByTtl {
    fn expire_after_create(&self, _: &Arc<str>, slot: &Arc<Slot>, _: StdInstant) -> Option<Duration> {
        Some(slot.expires.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        _: &Arc<str>,
        slot: &Arc<Slot>,
        _: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(slot.expires.saturating_duration_since(Instant::now()))
    }
}

#[async_trait]
impl CacheLevel for MemoryLevel {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        Ok(self.lookup(key))
    }

    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        self.insert(key, entry, write);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        self.remove(key);
        Ok(())
    }

    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        self.remove_tag(tag);
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage { entries: Some(self.0.slots.entry_count()), bytes: Some(self.0.slots.weighted_size()) }
    }
}

impl fmt::Debug for MemoryLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLevel").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
