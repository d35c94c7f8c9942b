//! What is known of one endpoint, by all services that send to it.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    config::OutlierConfig,
    ejection::{Counts, Record},
    registry::Registry,
};
use crate::{
    Availability, Available,
    classify::Outcome,
    observe::{Event, Observers},
};

/// What all members of a list share.
pub(super) struct Common {
    pub(super) epoch: Instant,
    pub(super) outlier: Option<OutlierConfig>,
    pub(super) observers: Observers,
    pub(super) registry: Weak<Registry>,
}

/// The time since the epoch, read from the clock only if anybody asks.
pub(super) struct Now(Option<Duration>);

impl Now {
    pub(super) fn unread() -> Self {
        Self(None)
    }

    fn get(&mut self, common: &Common) -> Duration {
        *self.0.get_or_insert_with(|| Instant::now().saturating_duration_since(common.epoch))
    }
}

/// Stays while its endpoint is in the list, whatever else changes there.
pub(super) struct Member {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) common: Arc<Common>,
    // Two counters and their difference in place of a third one: each is a write to a line that others write as well.
    started: AtomicU64,
    ended: AtomicU64,
    failures: AtomicU64,
    /// Ended without telling anything about the endpoint.
    unjudged: AtomicU64,
    consecutive: AtomicU32,
    down: AtomicBool,
    /// When an ejection ends, in nanoseconds since the epoch; 0 while it is in.
    out_until: AtomicU64,
    record: Mutex<Record>,
    /// Knows whether the endpoint's breaker lets calls through; there once a service was made.
    guard: OnceLock<Box<dyn Available>>,
}

/// How an endpoint does, as read at one moment.
pub(super) struct Seen {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) in_flight: u64,
    pub(super) down: bool,
    pub(super) ejected_for: Option<Duration>,
}

impl Member {
    pub(super) fn new(id: u64, name: Arc<str>, common: Arc<Common>) -> Self {
        Self {
            id,
            name,
            common,
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unjudged: AtomicU64::new(0),
            consecutive: AtomicU32::new(0),
            down: AtomicBool::new(false),
            out_until: AtomicU64::new(0),
            record: Mutex::default(),
            guard: OnceLock::new(),
        }
    }

    pub(super) fn guarded_by(&self, guard: impl FnOnce() -> Box<dyn Available>) {
        self.guard.get_or_init(guard);
    }

    pub(super) fn availability(&self) -> Availability {
        self.guard.get().map_or(Availability::Available, |guard| guard.availability())
    }

    /// A call is on its way.
    #[inline]
    pub(super) fn begin(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// A call has ended; `None` when it was dropped. `failed` says whether that speaks against the endpoint.
    #[inline]
    pub(super) fn end(&self, outcome: Option<Outcome>, failed: bool) {
        let ended = self.ended.fetch_add(1, Relaxed) + 1;
        if failed {
            let failures = self.failures.fetch_add(1, Relaxed) + 1;
            if let Some(rules) = &self.common.outlier {
                self.judge(rules, ended, failures);
            }
        } else if outcome == Some(Outcome::Success) {
            if self.consecutive.load(Relaxed) != 0 {
                self.consecutive.store(0, Relaxed);
            }
        } else {
            self.unjudged.fetch_add(1, Relaxed);
        }
        self.common.observers.tell(|| Event::AttemptEnded { endpoint: &self.name, outcome });
    }

    /// Counts one more failure. While it is out none counts: those calls were sent before, or for want of a better place, and say
    /// nothing of how it does once it is back.
    #[cold]
    fn judge(&self, rules: &OutlierConfig, ended: u64, failures: u64) {
        let mut now = Now::unread();
        if self.is_out(&mut now) {
            return;
        }
        let consecutive = self.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        let calls = ended.saturating_sub(self.unjudged.load(Relaxed));
        let counts = Counts { consecutive, calls, failures };
        let Some(registry) = self.common.registry.upgrade() else { return };
        let at = now.get(&self.common);
        let until = {
            // One at a time, or two would both take the last room.
            let _judging = registry.judging.lock();
            let has_room = || registry.has_room(rules.max_ejected_share, at);
            let until = self.record.lock().failed(rules, counts, at, has_room);
            if let Some(until) = until {
                self.consecutive.store(0, Relaxed);
                self.out_until.store(nanos(until).max(1), Relaxed);
            }
            until
        };
        if let Some(until) = until {
            let out = until.saturating_sub(at);
            tracing::warn!(endpoint = &*self.name, out_ms = out.as_millis(), "endpoint ejected: it fails too often");
            self.common.observers.tell(|| Event::EndpointEjected { endpoint: &self.name, until: Some(out) });
        }
    }

    /// Whether it takes calls only when nobody else does: ejected, or marked down.
    #[inline]
    pub(super) fn is_out(&self, now: &mut Now) -> bool {
        self.down.load(Relaxed) || self.is_ejected(now)
    }

    /// As [`is_out`](Self::is_out), for who holds a lock: whoever looks next puts it back and tells observers, who may use the handle.
    pub(super) fn is_out_at(&self, now: Duration) -> bool {
        self.down.load(Relaxed) || nanos(now) < self.out_until.load(Relaxed)
    }

    #[inline]
    fn is_ejected(&self, now: &mut Now) -> bool {
        let until = self.out_until.load(Relaxed);
        until != 0 && self.is_still_ejected(until, now)
    }

    #[cold]
    fn is_still_ejected(&self, until: u64, now: &mut Now) -> bool {
        if nanos(now.get(&self.common)) < until {
            return true;
        }
        self.take_back(until);
        false
    }

    /// Puts it back with no failure counted; of many who see that its time is over one does, and tells.
    fn take_back(&self, until: u64) {
        if self.out_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok() {
            self.consecutive.store(0, Relaxed);
            tracing::info!(endpoint = &*self.name, "endpoint is back");
            self.common.observers.tell(|| Event::EndpointEjected { endpoint: &self.name, until: None });
        }
    }

    pub(super) fn mark_down(&self) {
        if !self.down.swap(true, Relaxed) {
            tracing::warn!(endpoint = &*self.name, "endpoint marked down");
        }
    }

    /// Ends an ejection as well: whoever says that it is up knows more than its past, which is forgotten. Of one that is in nothing is:
    /// a check that finds it up again and again must not hide that its calls fail.
    pub(super) fn mark_up(&self) {
        let was_down = self.down.swap(false, Relaxed);
        let until = self.out_until.load(Relaxed);
        if was_down || until != 0 {
            self.record.lock().returned(Now::unread().get(&self.common));
            self.consecutive.store(0, Relaxed);
        }
        if was_down {
            tracing::info!(endpoint = &*self.name, "endpoint marked up");
        }
        if until != 0 {
            self.take_back(until);
        }
    }

    pub(super) fn seen(&self, now: &mut Now) -> Seen {
        let ended = self.ended.load(Relaxed);
        let calls = self.started.load(Relaxed);
        let ejected_for = self.is_ejected(now).then(|| {
            let until = Duration::from_nanos(self.out_until.load(Relaxed));
            until.saturating_sub(now.get(&self.common))
        });
        Seen {
            calls,
            failures: self.failures.load(Relaxed),
            in_flight: calls.saturating_sub(ended),
            down: self.down.load(Relaxed),
            ejected_for,
        }
    }
}

/// 584 years of them fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
