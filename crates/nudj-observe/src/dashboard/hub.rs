//! Makes snapshots: one per second for all viewers together, none while nobody looks.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    DashboardConfig,
    collector::Collector,
    control::Guard,
    progress::Progresses,
    recent::Recent,
    seconds::CHART_SECONDS,
    sources::Sources,
    verdict::{Facts, verdict},
    view::{Rows, Snapshot, millis},
    viewers::Viewers,
};

/// Between two frames.
const PERIOD: Duration = Duration::from_secs(1);
/// After a breaker's change, which is shown at once: many changes at once are one frame.
const SETTLE: Duration = Duration::from_millis(50);
/// Points in a frame: a viewer that missed none needs the last one.
const POINTS_PER_FRAME: u64 = 3;
/// A whole snapshot serves all who ask within this time.
const WHOLE_KEPT: Duration = Duration::from_millis(250);

/// What all viewers get, already written as a server-sent event.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) event: Bytes,
}

#[derive(Debug)]
pub(super) struct Hub {
    pub(super) config: DashboardConfig,
    start: String,
    pub(super) collector: Arc<Collector>,
    pub(super) progresses: Progresses,
    pub(super) sources: RwLock<Sources>,
    pub(super) guard: OnceLock<Guard>,
    pub(super) viewers: Viewers,
    pub(super) frames: watch::Sender<Frame>,
    pub(super) closed: watch::Sender<bool>,
    whole: Mutex<Option<(Instant, u64, Bytes)>>,
    publishing: Mutex<bool>,
}

/// How much of the lists goes into a snapshot.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    failures: u64,
    happenings: u64,
}

impl Hub {
    pub(super) fn new(config: DashboardConfig) -> Self {
        Self {
            collector: Arc::new(Collector::new(&config)),
            viewers: Viewers::new(config.max_viewers),
            config,
            // Random keys: the number of one empty hash is a random one.
            start: format!("{:016x}", RandomState::new().hash_one(())),
            progresses: Progresses::default(),
            sources: RwLock::default(),
            guard: OnceLock::new(),
            frames: watch::Sender::new(Frame::default()),
            closed: watch::Sender::new(false),
            whole: Mutex::new(None),
            publishing: Mutex::new(false),
        }
    }

    /// Everything, as JSON.
    pub(super) fn whole(&self) -> Bytes {
        let (now, frame) = (Instant::now(), self.frames.borrow().number);
        let mut whole = self.whole.lock();
        if let Some((made, of, json)) = &*whole
            && *of == frame
            && now.saturating_duration_since(*made) < WHOLE_KEPT
        {
            return json.clone();
        }
        let first = self.collector.second(now).saturating_sub(CHART_SECONDS);
        let json = json(&self.snapshot(first, &mut Told::default(), now));
        *whole = Some((now, frame, json.clone()));
        json
    }

    fn snapshot(&self, first_point: u64, told: &mut Told, now: Instant) -> Snapshot {
        let collector = &self.collector;
        let readings = self.sources.read().read(collector, now);
        let minute = collector.minute(now);
        let verdict = verdict(&Facts {
            minute: &minute,
            endpoints: &readings.endpoints,
            limiter: readings.limiter.as_ref(),
            credentials: readings.credentials.as_ref(),
        });
        Snapshot {
            title: self.config.title.clone(),
            version: env!("CARGO_PKG_VERSION"),
            start: self.start.clone(),
            at: wall_clock(),
            uptime_ms: millis(collector.uptime(now)),
            second: collector.second(now),
            viewers: self.viewers.count(),
            verdict,
            minute,
            points: collector.points(first_point, now),
            endpoints: readings.endpoints,
            limiter: readings.limiter,
            retry_budget: readings.retry_budget,
            credentials: readings.credentials,
            caches: readings.caches,
            webhooks: readings.webhooks,
            syncs: self.progresses.views(now),
            errors: news(&collector.failures.lock(), &mut told.failures, now),
            events: news(&collector.happenings.lock(), &mut told.happenings, now),
        }
    }

    /// Starts the task that makes frames, unless it runs. It ends when nobody looks.
    pub(super) fn publish(self: &Arc<Self>) {
        let mut publishing = self.publishing.lock();
        if !*publishing {
            *publishing = true;
            tokio::spawn(frames(Arc::downgrade(self), Arc::clone(&self.collector)));
        }
    }

    fn frame(&self, told: &mut Told) {
        let now = Instant::now();
        let first = self.collector.second(now).saturating_sub(POINTS_PER_FRAME);
        let snapshot = self.snapshot(first, told, now);
        let number = self.frames.borrow().number.wrapping_add(1);
        self.frames.send_replace(Frame { number, event: event("frame", number, &json(&snapshot)) });
    }

    /// Whether frames are still wanted; if not, the task is over.
    fn goes_on(&self) -> bool {
        let mut publishing = self.publishing.lock();
        *publishing = self.viewers.count() > 0 && !*self.closed.borrow();
        *publishing
    }
}

async fn frames(hub: Weak<Hub>, collector: Arc<Collector>) {
    let mut told = Told::default();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = collector.changed.notified() => {
                sleep(SETTLE).await;
                // Those that came meanwhile are in this frame too.
                let _ = collector.changed.notified().now_or_never();
            }
        }
        let Some(hub) = hub.upgrade() else { return };
        if !hub.goes_on() {
            return;
        }
        hub.frame(&mut told);
    }
}

/// The rows, if there are others than `told`.
fn news<T: Clone>(recent: &Recent<T>, told: &mut u64, now: Instant) -> Option<Rows<T>> {
    let revision = recent.revision();
    if *told == revision {
        return None;
    }
    *told = revision;
    Some(Rows { rows: recent.rows(now), most: recent.most(), left_out: recent.left_out() })
}

/// Numbers and texts always serialise; a map with other keys than texts, from a figure of the user's, would not.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// A server-sent event. JSON has no line breaks outside of texts, and escapes them inside.
pub(super) fn event(name: &str, number: u64, data: &[u8]) -> Bytes {
    let mut event = format!("event: {name}\nid: {number}\ndata: ").into_bytes();
    event.extend_from_slice(data);
    event.extend_from_slice(b"\n\n");
    Bytes::from(event)
}

/// Milliseconds since 1970; 0 before.
#[expect(clippy::disallowed_methods, reason = "people compare the page with their clock; nothing is decided by it")]
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}
