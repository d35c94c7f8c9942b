use std::{
    any::Any,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::config::{CacheConfig, jittered};
use crate::{
    error::CacheError,
    flight::Flights,
    invalidation::InvalidationChannel,
    level::{AsOf, CacheLevel, MemoryLevel, guarded::Guarded},
    stats::{CacheStats, Counters, LevelCounters, LevelStats},
};

/// A value or an error of a `get_or_load`, without its type.
pub(super) type Anything = Arc<dyn Any + Send + Sync>;

/// What a `get_or_load` brought, and since when it was under way.
pub(super) type Loaded = (AsOf, Result<Anything, Anything>);

/// Several levels as one cache. Clones share everything.
#[derive(Clone)]
pub struct MultiLevelCache(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// Names this cache among all that share a channel.
    pub(super) id: String,
    pub(super) config: CacheConfig,
    pub(super) memory: MemoryLevel,
    pub(super) memory_counters: LevelCounters,
    /// L2 before L3.
    pub(super) shared: Vec<Guarded>,
    pub(super) channel: Option<Arc<dyn InvalidationChannel>>,
    news: watch::Sender<ChannelNews>,
    pub(super) counters: Counters,
    pub(super) flights: Flights<Loaded>,
    rng: Mutex<fastrand::Rng>,
}

/// A handle that does not keep the cache alive, for tasks that serve it.
#[derive(Clone)]
pub struct WeakCache(Weak<Inner>);

impl WeakCache {
    /// The cache, while somebody else holds it.
    #[must_use]
    pub fn upgrade(&self) -> Option<MultiLevelCache> {
        self.0.upgrade().map(MultiLevelCache)
    }
}

impl fmt::Debug for WeakCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakCache")
    }
}

/// What the invalidation channel has brought, for those who watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChannelNews {
    /// Whether invalidations of other processes arrive. `None` without a channel.
    pub up: Option<bool>,
    /// Counts the times something was removed from this process's memory because of other processes, each after it was
    /// done: their invalidations, and the emptying after the channel was lost.
    pub removals: u64,
}

impl MultiLevelCache {
    /// Starts to build a cache. Without a further level it is the memory level alone.
    #[must_use]
    pub fn builder(config: CacheConfig) -> MultiLevelCacheBuilder {
        MultiLevelCacheBuilder { config, l2: None, l3: None, channel: None, seed: None }
    }

    /// A handle that does not keep the cache alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakCache {
        WeakCache(Arc::downgrade(&self.0))
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &CacheConfig {
        &self.0.config
    }

    /// What it did so far. Reads counters; cheap enough for once a second, not for every call.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let inner = &*self.0;
        let usage = inner.memory.usage();
        let memory = LevelStats {
            entries: usage.entries,
            bytes: usage.bytes,
            up: true,
            ..inner.memory_counters.read(inner.memory.name())
        };
        let counters = &inner.counters;
        CacheStats {
            levels: std::iter::once(memory).chain(inner.shared.iter().map(Guarded::stats)).collect(),
            hits: counters.hits.get(),
            misses: counters.misses.get(),
            loads: counters.loads.get(),
            coalesced: counters.coalesced.get(),
            revalidated: counters.revalidated.get(),
            stale: counters.stale.get(),
            passed: counters.passed.get(),
            invalidations: counters.invalidations.get(),
            remote_invalidations: counters.remote_invalidations.get(),
            memory_dropped: counters.memory_dropped.get(),
            channel_up: inner.news.borrow().up,
        }
    }

    /// The memory level, for figures and tests.
    #[must_use]
    pub fn memory(&self) -> &MemoryLevel {
        &self.0.memory
    }

    /// Empties the memory level of this process. The shared levels stay.
    pub fn drop_memory(&self) {
        self.0.memory.clear();
        self.0.counters.memory_dropped.one();
    }

    /// Watches the invalidation channel: for health checks, or to drop what an application derived from cached values.
    #[must_use]
    pub fn channel_news(&self) -> watch::Receiver<ChannelNews> {
        self.0.news.subscribe()
    }

    /// To be called by whatever serves the invalidation channel when it lost it: from now on entries are kept in
    /// memory for at most `isolated_ttl`.
    pub fn channel_lost(&self) {
        self.0.news.send_modify(|news| news.up = Some(false));
    }

    /// To be called when the channel is there (again), subscribed: empties the memory level, since what was sent
    /// before did not arrive, and finishes deletes that a level missed. The latter can take long: what receives must go
    /// on meanwhile.
    pub async fn channel_ready(&self) {
        self.channel_returned();
        self.catch_up().await;
    }

    /// The part of [`channel_ready`](Self::channel_ready) that waits for nothing, for who catches up elsewhere.
    pub(crate) fn channel_returned(&self) {
        // While it is still short-lived; what is stored from here on is reached by every invalidation.
        self.drop_memory();
        self.0.news.send_modify(|news| {
            news.up = Some(true);
            news.removals = news.removals.wrapping_add(1);
        });
    }

    /// Finishes deletes that a level missed while it was down, and tells the other processes. Every operation on that
    /// level does a part of it; this is for when there are none, and is called by the channel once a second.
    pub async fn catch_up(&self) {
        for level in &self.0.shared {
            while level.repair().await {}
        }
        self.tell_repaired().await;
    }

    /// To be called after something was removed from memory because of other processes.
    pub(crate) fn removed_for_others(&self) {
        self.0.news.send_modify(|news| news.removals = news.removals.wrapping_add(1));
    }

    #[cfg(feature = "redis")]
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// TTL for the memory level.
    pub(super) fn memory_ttl(&self) -> Duration {
        let config = &self.0.config;
        let ttl = match self.0.news.borrow().up {
            Some(false) => config.memory.ttl.min(config.isolated_ttl),
            Some(true) | None => config.memory.ttl,
        };
        self.jittered(ttl)
    }

    pub(super) fn jittered(&self, ttl: Duration) -> Duration {
        let draw = self.0.rng.lock().f64();
        jittered(ttl, self.0.config.jitter, draw)
    }
}

impl fmt::Debug for MultiLevelCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiLevelCache")
            .field("memory", &self.0.memory)
            .field("shared", &self.0.shared)
            .finish_non_exhaustive()
    }
}

/// Builds a [`MultiLevelCache`].
pub struct MultiLevelCacheBuilder {
    config: CacheConfig,
    l2: Option<Arc<dyn CacheLevel>>,
    l3: Option<Arc<dyn CacheLevel>>,
    channel: Option<Arc<dyn InvalidationChannel>>,
    seed: Option<u64>,
}

impl MultiLevelCacheBuilder {
    /// The second level, under `[l2]` of the configuration; usually Redis.
    #[must_use]
    pub fn l2(mut self, level: impl CacheLevel) -> Self {
        self.l2 = Some(Arc::new(level));
        self
    }

    /// The third level, under `[l3]`; usually SQL.
    #[must_use]
    pub fn l3(mut self, level: impl CacheLevel) -> Self {
        self.l3 = Some(Arc::new(level));
        self
    }

    /// The way to the other processes.
    #[must_use]
    pub fn channel(mut self, channel: impl InvalidationChannel) -> Self {
        self.channel = Some(Arc::new(channel));
        self
    }

    /// Makes everything repeatable that is left to chance: the jitter, and which entries a delete takes along.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds it. Nothing is connected yet.
    ///
    /// # Errors
    /// [`CacheError::Config`] when a field is out of range.
    pub fn build(self) -> Result<MultiLevelCache, CacheError> {
        self.config.validate()?;
        let l2 = self.l2.map(|level| Guarded::new(level, self.config.l2.clone()));
        let l3 = self.l3.map(|level| Guarded::new(level, self.config.l3.clone()));
        // Until the subscription stands, invalidations of others do not arrive.
        let up = self.channel.is_some().then_some(false);
        Ok(MultiLevelCache(Arc::new(Inner {
            // Not by the seed: two processes may have the same.
            id: format!("{:032x}", fastrand::u128(..)),
            memory: match self.seed {
                Some(seed) => MemoryLevel::with_seed(self.config.memory.max_bytes, seed),
                None => MemoryLevel::new(self.config.memory.max_bytes),
            },
            memory_counters: LevelCounters::default(),
            shared: l2.into_iter().chain(l3).collect(),
            channel: self.channel,
            news: watch::Sender::new(ChannelNews { up, removals: 0 }),
            counters: Counters::default(),
            flights: Flights::new(),
            rng: Mutex::new(self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            config: self.config,
        })))
    }
}

impl fmt::Debug for MultiLevelCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiLevelCacheBuilder")
            .field("config", &self.config)
            .field("l2", &self.l2.as_ref().map(|level| level.name()))
            .field("l3", &self.l3.as_ref().map(|level| level.name()))
            .field("channel", &self.channel.is_some())
            .finish_non_exhaustive()
    }
}
