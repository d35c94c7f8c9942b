//! Reading through the levels and writing to them.

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::cache::MultiLevelCache;
use crate::{
    entry::{Entry, Kind},
    level::{AsOf, Found, Write},
};

/// How a payload becomes a value.
pub(crate) struct Format<F> {
    pub(crate) kind: Kind,
    pub(crate) schema: u32,
    /// The value and the memory it takes beyond its payload, or `None` when the payload is not readable.
    pub(crate) decode: F,
}

impl<F> Format<F> {
    fn fits(&self, entry: &Entry) -> bool {
        entry.kind() == self.kind && entry.schema() == self.schema
    }
}

impl MultiLevelCache {
    /// What the memory level holds, without waiting for anything.
    pub(crate) fn lookup_memory(&self, key: &str, now: Instant) -> Option<Found> {
        let found = self.0.memory.lookup_at(key, now);
        self.count_in_memory(found.is_some());
        found
    }

    /// Counts a look in the memory level. One that finds nothing is a miss of that level, not yet of the cache.
    pub(crate) fn count_in_memory(&self, found: bool) {
        let counters = &self.0.memory_counters;
        if found {
            counters.hits.one();
            self.0.counters.hits.one();
        } else {
            counters.misses.one();
        }
    }

    /// L1, then the shared levels.
    pub(crate) async fn lookup<T, F>(&self, key: &str, format: &Format<F>) -> Option<(Arc<T>, Entry)>
    where
        T: Any + Send + Sync,
        F: Fn(&Bytes) -> Option<(T, usize)>,
    {
        if let Some(Found { entry, .. }) = self.lookup_memory(key, Instant::now()) {
            let value = entry.decoded().or_else(|| {
                // Stored as another type: read anew, and not kept, since the other's readers are here as well.
                let fits = format.fits(&entry);
                fits.then(|| (format.decode)(entry.payload()))?.map(|(value, _)| Arc::new(value))
            });
            if let Some(value) = value {
                return Some((value, entry));
            }
        }
        self.lookup_shared(key, format).await
    }

    /// The shared levels only. What is found goes to the levels above.
    pub(crate) async fn lookup_shared<T, F>(&self, key: &str, format: &Format<F>) -> Option<(Arc<T>, Entry)>
    where
        T: Any + Send + Sync,
        F: Fn(&Bytes) -> Option<(T, usize)>,
    {
        let found = self.find_shared(key, format).await;
        self.count_in_shared(found.as_ref().map(|(level, ..)| *level));
        found.map(|(_, value, entry)| (value, entry))
    }

    /// Counts a look in the shared levels, which found it in this one.
    pub(crate) fn count_in_shared(&self, level: Option<usize>) {
        match level.and_then(|level| self.0.shared.get(level)) {
            Some(level) => {
                level.hit();
                self.0.counters.hits.one();
            }
            None => self.0.counters.misses.one(),
        }
    }

    /// [`lookup_shared`](Self::lookup_shared), not counted; also says which level had it.
    pub(crate) async fn find_shared<T, F>(&self, key: &str, format: &Format<F>) -> Option<(usize, Arc<T>, Entry)>
    where
        T: Any + Send + Sync,
        F: Fn(&Bytes) -> Option<(T, usize)>,
    {
        for (index, level) in self.0.shared.iter().enumerate() {
            let as_of = AsOf::now();
            let found = level.get(key).await;
            self.tell_repaired().await;
            let Some(Found { entry, remaining }) = found else { continue };
            let decoded = format.fits(&entry).then(|| (format.decode)(entry.payload())).flatten();
            let Some((value, weight)) = decoded else {
                level.unreadable();
                continue;
            };
            let value = Arc::new(value);
            let entry = entry.with_decoded(Arc::clone(&value) as _, weight);
            self.write(key, &entry, Some(remaining), Some(as_of), index).await;
            return Some((index, value, entry));
        }
        None
    }

    /// Writes to L1 and to the first `shared` of the shared levels.
    pub(super) async fn write(
        &self,
        key: &str,
        entry: &Entry,
        ttl: Option<Duration>,
        as_of: Option<AsOf>,
        shared: usize,
    ) {
        let at_most = |level: Duration| Write { ttl: ttl.map_or(level, |ttl| level.min(ttl)), as_of };
        self.0.memory.insert(key, entry, at_most(self.memory_ttl()));
        match self.0.shared.get(..shared).unwrap_or_default() {
            [] => {}
            [level] => level.set(key, entry, at_most(self.jittered(level.ttl()))).await,
            levels => {
                let writes = levels.iter().map(|level| level.set(key, entry, at_most(self.jittered(level.ttl()))));
                join_all(writes).await;
            }
        }
    }

    /// Writes to all levels, each for its own TTL, none for longer than `ttl`.
    pub(crate) async fn write_through(&self, key: &str, entry: &Entry, ttl: Option<Duration>, as_of: Option<AsOf>) {
        self.write(key, entry, ttl, as_of, self.0.shared.len()).await;
    }
}
