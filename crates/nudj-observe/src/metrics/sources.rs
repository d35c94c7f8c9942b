//! What has to be asked for: handles, snapshots, and whatever else a service wants to see beside them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics::{Gauge, Label};
use nudj_client::stack::Handles;
use parking_lot::Mutex;

use super::{
    MetricsObserver,
    catalogue::{
        BUDGET_LEFT, CACHE_ENTRIES, CACHE_ERRORS, CACHE_HITS, CACHE_MISSES, CACHE_UP, CREDENTIAL_EXPIRES, DEAD_LETTERS,
        LIMITER_AVAILABLE, LIMITER_PAUSE_LEFT, LIMITER_QUEUE, SYNC_DONE, SYNC_LAG, SYNC_LAG_BYTES, SYNC_PLANNED,
        WEBHOOK_QUEUE, WEBHOOKS,
    },
    meter::Meter,
    named::Named,
};

type Read = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
pub(super) struct Sources {
    reads: Mutex<Vec<Read>>,
    providers: Named<()>,
    streams: Named<Arc<SyncMetrics>>,
}

impl Sources {
    pub(super) fn read(&self) {
        // Not under the lock: a read may tell an event, or add a source.
        let reads = self.reads.lock().clone();
        reads.iter().for_each(|read| read());
    }

    /// The name a provider is counted under.
    pub(super) fn provider(&self, name: &str) -> Arc<str> {
        Arc::clone(&self.providers.entry(name, |_| ()).0)
    }

    fn add(&self, read: impl Fn() + Send + Sync + 'static) {
        self.reads.lock().push(Arc::new(read));
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
    /// Reads a client's handles at each [`refresh`](Self::refresh): breakers, endpoints, limiter, budget, credentials.
    /// One client per observer: the names of two clients' endpoints would be one series.
    pub fn watch(&self, handles: &Handles) {
        let (handles, inner) = (handles.clone(), Arc::downgrade(&self.0));
        // Made at the first reading: there may be no recorder yet.
        let gauges = OnceLock::new();
        self.0.sources.add(move || {
            let Some(inner) = inner.upgrade() else { return };
            let gauge = |metric| inner.meter.gauge(metric, Vec::new());
            let (limiter, budget) = gauges.get_or_init(|| {
                let limiter = [&LIMITER_QUEUE, &LIMITER_AVAILABLE, &LIMITER_PAUSE_LEFT].map(gauge);
                (limiter, handles.retry_budget().map(|_| gauge(&BUDGET_LEFT)))
            });
            inner.endpoints.read(&inner.meter, &handles.endpoints().endpoints());
            inner.breakers.read(&inner.meter, &handles.breakers());
            read_limiter(limiter, &handles);
            if let (Some(gauge), Some(budget)) = (budget, handles.retry_budget()) {
                gauge.set(float(budget.left()));
            }
            let credentials = handles.credentials().snapshot();
            if let Some(left) = credentials.expires_in {
                let provider = inner.sources.provider(&credentials.provider);
                let labels = vec![Label::new("provider", provider)];
                inner.meter.gauge(&CREDENTIAL_EXPIRES, labels).set(left.as_secs_f64());
            }
        });
        self.refresh();
    }

    /// Asks a cache for its levels at each [`refresh`](Self::refresh). A level's name is a label: a handful of fixed names.
    ///
    /// With `nudj-cache`: `cache.stats().levels`, each level's figures of the same names, `errors` and `timeouts` together.
    pub fn watch_cache(&self, levels: impl Fn() -> Vec<CacheLevel> + Send + Sync + 'static) {
        let meter = self.0.meter.clone();
        self.0.sources.add(move || {
            for level in levels() {
                let label = || vec![Label::new("level", level.name)];
                meter.counter(&CACHE_HITS, label()).absolute(level.hits);
                meter.counter(&CACHE_MISSES, label()).absolute(level.misses);
                meter.counter(&CACHE_ERRORS, label()).absolute(level.errors);
                meter.gauge(&CACHE_UP, label()).set(f64::from(u8::from(level.up)));
                if let Some(entries) = level.entries {
                    meter.gauge(&CACHE_ENTRIES, label()).set(float(entries));
                }
            }
        });
    }

    /// Asks a receiver of webhooks for its totals at each [`refresh`](Self::refresh).
    ///
    /// With `nudj-webhook`: its `Snapshot`, whose figures have the same names.
    pub fn watch_webhooks(&self, totals: impl Fn() -> WebhookTotals + Send + Sync + 'static) {
        let meter = self.0.meter.clone();
        self.0.sources.add(move || {
            let now = totals();
            for (result, count) in [
                ("accepted", now.accepted),
                ("duplicate", now.duplicate),
                ("rejected", now.rejected),
                ("unavailable", now.unavailable),
                ("handled", now.handled),
            ] {
                meter.counter(&WEBHOOKS, vec![Label::new("result", result)]).absolute(count);
            }
            meter.gauge(&WEBHOOK_QUEUE, Vec::new()).set(float(now.queue_depth));
            meter.gauge(&DEAD_LETTERS, vec![Label::new("source", "webhook")]).set(float(now.dead_letters));
        });
    }

    /// Runs `read` at each [`refresh`](Self::refresh): for gauges of your own. It must not block.
    pub fn at_refresh(&self, read: impl Fn() + Send + Sync + 'static) {
        self.0.sources.add(read);
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

fn read_limiter([queue, available, pause]: &[Gauge; 3], handles: &Handles) {
    let limiter = handles.rate_limit();
    queue.set(float(u64::try_from(limiter.queue_depth()).unwrap_or(u64::MAX)));
    available.set(f64::from(limiter.available()));
    let left = limiter.paused_until().map(|end| end.saturating_duration_since(tokio::time::Instant::now()));
    pause.set(left.unwrap_or_default().as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn float(count: u64) -> f64 {
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
