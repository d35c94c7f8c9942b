//! What has to be asked for: handles, snapshots, and whatever else a service wants to see beside them.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use metrics::{Gauge, Label};
use nudj_client::stack::Handles;
use parking_lot::Mutex;

use super::{
    MetricsObserver,
    catalogue::{
        CACHE_ENTRIES, CACHE_ERRORS, CACHE_HITS, CACHE_MISSES, CACHE_UP, DEAD_LETTERS, SYNC_DONE, SYNC_LAG,
        SYNC_LAG_BYTES, SYNC_PLANNED, WEBHOOK_QUEUE, WEBHOOKS,
    },
    growth::Growth,
    meter::Meter,
    named::Named,
    observer::Inner,
    watched::Watched,
};

/// Says whether there will be anything to read again. Locked while it reads: an older reading never comes after a newer one.
type Read = Arc<Mutex<dyn FnMut(&Inner) -> bool + Send>>;

#[derive(Default)]
pub(super) struct Sources {
    reads: Mutex<Vec<Read>>,
    providers: Named<()>,
    streams: Named<Arc<SyncMetrics>>,
}

impl Sources {
    pub(super) fn read(&self, inner: &Inner) {
        // Not under the lock: a read may tell an event, or add a source.
        let reads = self.reads.lock().clone();
        // One that is being read is as good as read, and may be what has led here.
        let goes_on = |read: &Read| read.try_lock().is_none_or(|mut read| read(inner));
        let ended: Vec<_> = reads.iter().filter(|read| !goes_on(read)).collect();
        if !ended.is_empty() {
            self.reads.lock().retain(|read| !ended.iter().any(|ended| Arc::ptr_eq(ended, read)));
            // Those that are left say anew what the ended ones took back for all.
            self.read(inner);
        }
    }

    /// The name a provider is counted under.
    pub(super) fn provider(&self, name: &str) -> Arc<str> {
        Arc::clone(&self.providers.entry(name, |_| ()).0)
    }

    fn add(&self, read: impl FnMut(&Inner) -> bool + Send + 'static) {
        self.reads.lock().push(Arc::new(Mutex::new(read)));
    }
}

/// What one level of a cache says of itself; totals since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLevel {
    /// Its name, such as `memory` or `redis`.
    pub name: &'static str,
    /// Lookups it answered.
    pub hits: u64,
    /// Lookups it had nothing for.
    pub misses: u64,
    /// Operations that failed or took too long.
    pub errors: u64,
    /// Entries it holds, where it knows.
    pub entries: Option<u64>,
    /// Whether it is being asked.
    pub up: bool,
}

/// What a receiver of webhooks says of itself; totals since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookTotals {
    /// New deliveries, recorded.
    pub accepted: u64,
    /// Deliveries seen before.
    pub duplicate: u64,
    /// Deliveries refused.
    pub rejected: u64,
    /// Deliveries that could not be taken: the sender will try again.
    pub unavailable: u64,
    /// Deliveries whose handlers all succeeded.
    pub handled: u64,
    /// Deliveries recorded and not handled yet.
    pub queue_depth: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
}

impl MetricsObserver {
    /// Reads a client's handles at each [`refresh`](Self::refresh): breakers, endpoints, limiter, budget, credentials; until the client
    /// is dropped, which this does not prevent. One client per observer, and once: the names of two clients' endpoints would be one
    /// series.
    pub fn watch(&self, handles: &Handles) {
        let mut watched = Watched::new(handles);
        self.0.sources.add(move |inner| watched.read(inner));
        self.refresh();
    }

    /// Asks a cache for its levels at each [`refresh`](Self::refresh); once per cache. A level's name is a label: a handful of fixed
    /// names. Totals that fall were begun anew, and count on.
    ///
    /// With `nudj-cache`: `cache.stats().levels`, each level's figures of the same names, `errors` and `timeouts` together.
    pub fn watch_cache(&self, levels: impl Fn() -> Vec<CacheLevel> + Send + Sync + 'static) {
        let mut seen = HashMap::<_, [Growth; 3]>::new();
        self.0.sources.add(move |Inner { meter, .. }| {
            for level in levels() {
                let label = || vec![Label::new("level", level.name)];
                let [hits, misses, errors] = seen.entry(level.name).or_default();
                meter.counter(&CACHE_HITS, label()).increment(hits.to(level.hits));
                meter.counter(&CACHE_MISSES, label()).increment(misses.to(level.misses));
                meter.counter(&CACHE_ERRORS, label()).increment(errors.to(level.errors));
                meter.gauge(&CACHE_UP, label()).set(f64::from(u8::from(level.up)));
                if let Some(entries) = level.entries {
                    meter.gauge(&CACHE_ENTRIES, label()).set(float(entries));
                }
            }
            true
        });
    }

    /// Asks a receiver of webhooks for its totals at each [`refresh`](Self::refresh); once per receiver. Totals that fall were begun anew,
    /// and count on.
    ///
    /// With `nudj-webhook`: its `Snapshot`, whose figures have the same names.
    pub fn watch_webhooks(&self, totals: impl Fn() -> WebhookTotals + Send + Sync + 'static) {
        let mut seen = [Growth::default(); 5];
        self.0.sources.add(move |Inner { meter, .. }| {
            let now = totals();
            let results = [
                ("accepted", now.accepted),
                ("duplicate", now.duplicate),
                ("rejected", now.rejected),
                ("unavailable", now.unavailable),
                ("handled", now.handled),
            ];
            for ((result, count), seen) in results.into_iter().zip(&mut seen) {
                meter.counter(&WEBHOOKS, vec![Label::new("result", result)]).increment(seen.to(count));
            }
            meter.gauge(&WEBHOOK_QUEUE, Vec::new()).set(float(now.queue_depth));
            meter.gauge(&DEAD_LETTERS, vec![Label::new("source", "webhook")]).set(float(now.dead_letters));
            true
        });
    }

    /// Runs `read` at each [`refresh`](Self::refresh): for gauges of your own. It must not block.
    pub fn at_refresh(&self, read: impl Fn() + Send + Sync + 'static) {
        self.0.sources.add(move |_| {
            read();
            true
        });
    }

    /// What a synchronisation writes its progress to; without a recorder yet, nowhere. The same name gives the same series; names beyond 64 share one.
    #[must_use]
    pub fn sync(&self, stream: &str) -> Arc<SyncMetrics> {
        Arc::clone(self.0.sources.streams.get(stream, |stream| Arc::new(SyncMetrics::new(&self.0.meter, stream))))
    }
}

/// Where a synchronisation stands.
pub struct SyncMetrics {
    lag: Gauge,
    lag_bytes: Gauge,
    done: Gauge,
    planned: Gauge,
    dead_letters: Gauge,
}

impl SyncMetrics {
    fn new(meter: &Meter, stream: &Arc<str>) -> Self {
        let gauge = |metric| meter.gauge(metric, vec![Label::new("stream", Arc::clone(stream))]);
        Self {
            lag: gauge(&SYNC_LAG),
            lag_bytes: gauge(&SYNC_LAG_BYTES),
            done: gauge(&SYNC_DONE),
            planned: gauge(&SYNC_PLANNED),
            dead_letters: meter.gauge(&DEAD_LETTERS, vec![Label::new("source", Arc::clone(stream))]),
        }
    }

    /// How long ago the oldest change was made that is not yet on the other side; zero when there is none.
    pub fn set_lag(&self, lag: Duration) {
        self.lag.set(lag.as_secs_f64());
    }

    /// How much of the source's log has not been worked off.
    pub fn set_lag_bytes(&self, bytes: u64) {
        self.lag_bytes.set(float(bytes));
    }

    /// How many items of the current run are done, of how many.
    pub fn set_progress(&self, done: u64, planned: u64) {
        self.done.set(float(done));
        self.planned.set(float(planned));
    }

    /// How many items were given up and are kept.
    pub fn set_dead_letters(&self, count: u64) {
        self.dead_letters.set(float(count));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("reads", &self.reads.lock().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SyncMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncMetrics").finish_non_exhaustive()
    }
}
