//! Counts what the layers report, on the calls' own path: one short lock of a shard, no allocation unless something went wrong.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use nudj_tower::{
    classify::Outcome,
    observe::{Event, Observer},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    DashboardConfig,
    end::{CallEnd, Kind},
    happenings::{Happenings, Storm, Tone},
    histogram::Histogram,
    recent::{Failure, Recent, clipped},
    seconds::{CHART_SECONDS, Counts, Seconds},
    view::{Minute, Point},
};

const SHARDS: usize = 4;
/// Percentiles and rates are taken over so many seconds: one second of few calls says little.
const SMOOTHED: u64 = 5;
const MINUTE: u64 = 60;

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

fn shard() -> usize {
    let pick = |cell: &Cell<usize>| {
        if cell.get() == usize::MAX {
            cell.set(NEXT_SHARD.fetch_add(1, Relaxed) % SHARDS);
        }
        cell.get()
    };
    SHARD.try_with(pick).unwrap_or(0)
}

/// Shards of different threads do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Seconds>);

#[derive(Debug)]
pub(super) struct Collector {
    epoch: Instant,
    shards: [Shard; SHARDS],
    pub(super) failures: Mutex<Recent<Failure>>,
    pub(super) happenings: Mutex<Happenings>,
    /// When the credential was last renewed, in milliseconds after the epoch; 0 for never.
    renewed: AtomicU64,
    /// Told when a breaker has changed its state.
    pub(super) changed: Notify,
}

impl Collector {
    pub(super) fn new(config: &DashboardConfig) -> Self {
        Self {
            epoch: Instant::now(),
            shards: Default::default(),
            failures: Mutex::new(Recent::new(config.recent_errors)),
            happenings: Mutex::new(Happenings::new(config.recent_events)),
            renewed: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }

    pub(super) fn second(&self, now: Instant) -> u64 {
        self.uptime(now).as_secs()
    }

    pub(super) fn renewed_ago(&self, now: Instant) -> Option<Duration> {
        let renewed = self.renewed.load(Relaxed);
        (renewed > 0).then(|| self.uptime(now).saturating_sub(Duration::from_millis(renewed)))
    }

    fn count(&self, now: Instant, what: impl FnOnce(&mut Counts)) {
        let number = self.second(now);
        if let Some(shard) = self.shards.get(shard())
            && let Some(second) = shard.0.lock().at(number)
        {
            what(&mut second.counts);
        }
    }

    fn call_ended(&self, end: &CallEnd<'_>) {
        let now = Instant::now();
        let (number, kind) = (self.second(now), end.kind());
        if let Some(shard) = self.shards.get(shard())
            && let Some(second) = shard.0.lock().at(number)
        {
            kind.count(&mut second.counts);
            if kind != Kind::Dropped {
                second.latency.record(end.duration);
            }
        }
        if matches!(kind, Kind::ClientError | Kind::Failed | Kind::Refused) {
            self.keep(end, kind, number, now);
        }
    }

    fn keep(&self, end: &CallEnd<'_>, kind: Kind, number: u64, now: Instant) {
        if !self.failures.lock().takes(number) {
            return;
        }
        let context = end.context;
        let id = context.correlation_id();
        let failure = Failure {
            kind,
            operation: context.route().map(|route| clipped(route.operation)).unwrap_or_default(),
            method: end.method.unwrap_or_default(),
            endpoint: context.endpoint().map(|name| clipped(&name)).unwrap_or_default(),
            error: clipped(end.error.unwrap_or("failed")),
            status: end.status,
            tries: context.tries(),
            duration_ms: end.duration.as_secs_f64() * 1e3,
            correlation_id: id.as_ref().and_then(|id| id.to_str().ok()).map(clipped).unwrap_or_default(),
        };
        self.failures.lock().push(now, failure);
    }

    pub(super) fn happened(&self, tone: Tone, subject: &str, text: String) {
        self.happenings.lock().add(Instant::now(), tone, subject, text);
    }

    /// The points of the complete seconds from `first` up to the present one.
    pub(super) fn points(&self, first: u64, now: Instant) -> Vec<Point> {
        let end = self.second(now);
        let first = first.max(end.saturating_sub(CHART_SECONDS - SMOOTHED));
        // One lock per shard and second at a time: calls wait for one merge, not for all.
        let seconds: Vec<_> =
            (first.saturating_sub(SMOOTHED - 1)..end).map(|number| (number, self.sum(number))).collect();
        let window = |number: u64| {
            let mut latency = Histogram::default();
            let near = seconds.iter().filter(|(other, _)| *other <= number && number - *other < SMOOTHED);
            near.for_each(|(_, (_, theirs))| latency.add(theirs));
            latency
        };
        let wanted = seconds.iter().filter(|(number, _)| *number >= first);
        wanted
            .map(|(number, (counts, _))| {
                let latency = window(*number);
                Point {
                    second: *number,
                    ok: counts.answered(),
                    failed: counts.in_vain(),
                    repeats: counts.retries.saturating_add(counts.failovers),
                    p50: latency.percentile(0.5),
                    p90: latency.percentile(0.9),
                    p99: latency.percentile(0.99),
                }
            })
            .collect()
    }

    fn sum(&self, number: u64) -> (Counts, Histogram) {
        let mut sum = (Counts::default(), Histogram::default());
        for shard in &self.shards {
            if let Some(second) = shard.0.lock().read(number) {
                sum.0.add(&second.counts);
                sum.1.add(&second.latency);
            }
        }
        sum
    }

    #[expect(clippy::cast_precision_loss, reason = "shares for people")]
    pub(super) fn minute(&self, now: Instant) -> Minute {
        let end = self.second(now);
        let (mut counts, mut latency, mut lately) = (Counts::default(), Histogram::default(), 0);
        for number in end.saturating_sub(MINUTE)..end {
            let (of_second, durations) = self.sum(number);
            counts.add(&of_second);
            latency.add(&durations);
            if end - number <= SMOOTHED {
                lately += of_second.calls();
            }
        }
        let calls = counts.calls();
        let (answered, in_vain) = (u64::from(counts.answered()), u64::from(counts.in_vain()));
        let repeats = u64::from(counts.retries) + u64::from(counts.failovers);
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        Minute {
            calls,
            rate: lately as f64 / SMOOTHED.min(end.max(1)) as f64,
            success: share(answered, answered + in_vain),
            retries: share(repeats, calls),
            p50: latency.percentile(0.5),
            p90: latency.percentile(0.9),
            p99: latency.percentile(0.99),
            counts,
        }
    }

    /// Attempts at an endpoint in each of the last complete seconds, oldest first, and how many failed.
    pub(super) fn attempts(&self, endpoint: &str, now: Instant) -> (Vec<u32>, Vec<u32>) {
        let end = self.second(now);
        let seconds = (end.saturating_sub(super::seconds::ENDPOINT_SECONDS - 1)..end).map(|number| {
            self.shards.iter().fold((0_u32, 0_u32), |sum, shard| {
                let (all, failed) = shard.0.lock().attempts(number, endpoint);
                (sum.0.saturating_add(all), sum.1.saturating_add(failed))
            })
        });
        seconds.unzip()
    }
}

impl Observer for Collector {
    fn observe(&self, event: &Event<'_>) {
        let now = Instant::now;
        match *event {
            Event::CallEnded { context, method, outcome, status, error, duration, .. } => {
                self.call_ended(&CallEnd { context, method, outcome, status, error, duration });
            }
            Event::AttemptEnded { endpoint, outcome } => {
                let failed = matches!(outcome, Some(Outcome::Failure | Outcome::Throttled));
                let number = self.second(now());
                if let Some(shard) = self.shards.get(shard()) {
                    let mut seconds = shard.0.lock();
                    seconds.count_attempt(number, endpoint, failed);
                    if let Some(second) = seconds.at(number) {
                        second.counts.attempts = second.counts.attempts.saturating_add(1);
                    }
                }
            }
            Event::Retried { failover: true, .. } => self.count(now(), |counts| counts.failovers += 1),
            Event::Retried { .. } => self.count(now(), |counts| counts.retries += 1),
            Event::LimiterWaited { .. } => self.count(now(), |counts| counts.waited += 1),
            Event::LimiterRefused { .. } => self.count(now(), |counts| counts.limited += 1),
            Event::RetryBudgetExhausted => {
                self.count(now(), |counts| counts.budget_spent += 1);
                let text = || "budget spent: a call was not sent again".to_owned();
                self.happenings.lock().count(now(), Storm::BudgetSpent, text);
            }
            Event::LimiterPaused { pause } => {
                let text = || format!("the server asked for a pause of {}", words(pause));
                self.happenings.lock().count(now(), Storm::Paused, text);
            }
            Event::BreakerChanged { name, from, to, retry_after } => {
                let tone = match to {
                    "closed" => Tone::Good,
                    "open" | "forced_open" => Tone::Bad,
                    _ => Tone::Warn,
                };
                let until = retry_after.map(|after| format!(", for {}", words(after))).unwrap_or_default();
                self.happened(tone, name, format!("{} → {}{until}", spaced(from), spaced(to)));
                self.changed.notify_one();
            }
            Event::EndpointEjected { endpoint, until: Some(out) } => {
                self.happened(Tone::Bad, endpoint, format!("taken out of the rotation for {}", words(out)));
            }
            Event::EndpointEjected { endpoint, until: None } => {
                self.happened(Tone::Good, endpoint, "back in the rotation".to_owned());
            }
            Event::CredentialRefreshed { provider, renewed, valid_for } => {
                self.credential(provider, renewed, valid_for, now());
            }
            _ => {}
        }
    }
}

impl Collector {
    fn credential(&self, provider: &str, renewed: bool, valid_for: Option<Duration>, now: Instant) {
        if !renewed {
            return self.happened(Tone::Bad, provider, "the credential could not be renewed".to_owned());
        }
        self.renewed.store(super::view::millis(self.uptime(now)).max(1), Relaxed);
        let valid = valid_for.map(|valid| format!(", valid for {}", words(valid))).unwrap_or_default();
        self.happened(Tone::Info, provider, format!("credential renewed{valid}"));
    }
}

fn spaced(state: &str) -> String {
    state.replace('_', "-")
}

/// A duration as people say it.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{seconds:.0} s"),
        120..7200 => format!("{} min", duration.as_secs() / 60),
        _ => format!("{} h", duration.as_secs() / 3600),
    }
}

#[cfg(test)]
mod tests;
