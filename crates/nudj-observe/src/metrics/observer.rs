//! From events to counts.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label, Recorder};
use nudj_tower::{
    CallContext, CallFacts,
    classify::{ERROR_KINDS, Outcome},
    observe::{Event, Observer, TracedAttempt},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    amplification::Amplification,
    breakers::Breakers,
    calls::{CallEnd, CallKind, Calls},
    catalogue::{
        ACTIVE, AMPLIFICATION, BUDGET_EXHAUSTED, LIMITER_PAUSES, LIMITER_REFUSALS, LIMITER_WAIT, REFRESHES, RETRIES,
    },
    endpoints::Endpoints,
    meter::Meter,
    named::OTHER,
    sources::Sources,
};

/// Counts what the layers report. A clone is the same observer. See the [module's page](super).
#[derive(Clone, Debug)]
pub struct MetricsObserver(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) meter: Meter,
    pub(super) breakers: Breakers,
    pub(super) endpoints: Endpoints,
    pub(super) sources: Sources,
    calls: Calls,
    /// Who writes traces, if anybody.
    tracer: Option<Arc<dyn Tracer>>,
    /// There from when a recorder is.
    plain: OnceLock<Plain>,
    totals: Totals,
    amplification: Mutex<Amplification>,
}

/// Who writes traces.
pub(crate) trait Tracer: Send + Sync {
    /// Whether the call's trace is to be written.
    fn wants(&self, facts: &CallFacts<'_>) -> bool;

    /// A call ended.
    fn call_ended(&self, facts: &CallFacts<'_>, call: &TracedCall<'_>);

    /// An attempt ended of which no call's end tells.
    fn attempt_ended(&self, facts: &CallFacts<'_>, attempt: &TracedAttempt);
}

/// A call that has ended, as a trace shows it.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody else writes spans"))]
pub(crate) struct TracedCall<'a> {
    pub(crate) method: Option<&'static str>,
    pub(crate) status: Option<u16>,
    /// Where there was no answer.
    pub(crate) error: Option<&'a str>,
    pub(crate) duration: Duration,
    pub(crate) end: Instant,
    /// Such as had ended by then.
    pub(crate) attempts: &'a [TracedAttempt],
}

/// What has no names of its own.
struct Plain {
    active: Gauge,
    amplification: Gauge,
    backoffs: Counter,
    failovers: Counter,
    budget_exhausted: Counter,
    limiter_wait: Histogram,
    queue_full: Counter,
    too_long: Counter,
    pauses: Counter,
}

/// Counted with or without a recorder: one that comes in the midst of calls must not see more ends than starts.
#[derive(Default)]
struct Totals {
    started: AtomicU64,
    calls: AtomicU64,
    /// How many tries there were beyond one a call. Nearly every call has one, and nothing to count here.
    further_tries: AtomicI64,
}

impl MetricsObserver {
    /// Counts into the process's recorder. Until one is installed nothing is counted, and calls cost what they cost without an observer;
    /// the first call after that finds it.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Meter::new(None), None)
    }

    /// Counts into `recorder` alone.
    #[must_use]
    pub fn over(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self::with(Meter::new(Some(recorder)), None)
    }

    /// Counts into `recorder`, and tells `tracer` of what has ended.
    #[cfg(feature = "otlp")]
    pub(crate) fn tracing(recorder: Arc<dyn Recorder + Send + Sync>, tracer: Arc<dyn Tracer>) -> Self {
        Self::with(Meter::new(Some(recorder)), Some(tracer))
    }

    fn with(meter: Meter, tracer: Option<Arc<dyn Tracer>>) -> Self {
        let observer = Self(Arc::new(Inner {
            meter,
            breakers: Breakers::default(),
            endpoints: Endpoints::default(),
            sources: Sources::default(),
            calls: Calls::default(),
            tracer,
            plain: OnceLock::new(),
            totals: Totals::default(),
            amplification: Mutex::default(),
        }));
        observer.0.plain();
        observer
    }

    /// For who asks it from within a recorder, which it would else keep alive.
    #[cfg(feature = "otlp")]
    pub(crate) fn downgrade(&self) -> WeakObserver {
        WeakObserver(Arc::downgrade(&self.0))
    }

    /// Reads what has to be asked for: states, queues, budgets, whatever was given to `watch` and its like. Called by
    /// [`Prometheus`](crate::prometheus::Prometheus) before each answer; call it every few seconds over another recorder.
    pub fn refresh(&self) {
        let Some(plain) = self.0.plain() else { return };
        let Inner { totals, amplification, sources, .. } = &*self.0;
        let (calls, tries) = totals.calls_and_tries();
        let now = tokio::time::Instant::now();
        plain.active.set(totals.under_way());
        plain.amplification.set(amplification.lock().ratio(calls, tries, now));
        sources.read(&self.0);
    }
}

#[cfg(feature = "otlp")]
pub(crate) struct WeakObserver(std::sync::Weak<Inner>);

#[cfg(feature = "otlp")]
impl WeakObserver {
    pub(crate) fn upgrade(&self) -> Option<MetricsObserver> {
        self.0.upgrade().map(MetricsObserver)
    }
}

impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl Inner {
    /// What has no names, once there is a recorder.
    fn plain(&self) -> Option<&Plain> {
        match self.plain.get() {
            None if self.meter.has_recorder() => Some(self.plain.get_or_init(|| Plain::new(&self.meter))),
            plain => plain,
        }
    }

    fn call_ended(&self, facts: &CallFacts<'_>, method: Option<&'static str>, end: CallEnd, duration: Duration) {
        let route = facts.route;
        let endpoint = facts.endpoint.map(|name| self.endpoints.get(&self.meter, name));
        let kind = CallKind {
            operation: route.map_or(OTHER, |route| route.operation),
            template: route.map_or(OTHER, |route| route.template),
            method: method.unwrap_or(OTHER),
            end,
            endpoint: endpoint.map_or(0, |endpoint| endpoint.number),
        };
        self.calls.count(&self.meter, kind, duration, || endpoint.map(|endpoint| endpoint.server.clone()));
    }

    /// Counts what is no start or end of a call.
    fn count(&self, event: &Event<'_>, plain: &Plain) {
        let Self { meter, endpoints, breakers, .. } = self;
        match *event {
            Event::AttemptEnded { endpoint, outcome } => endpoints.get(meter, endpoint).attempt(outcome),
            Event::Retried { failover: true, .. } => plain.failovers.increment(1),
            Event::Retried { .. } => plain.backoffs.increment(1),
            Event::RetryBudgetExhausted => plain.budget_exhausted.increment(1),
            Event::LimiterWaited { waited } => plain.limiter_wait.record(waited.as_secs_f64()),
            Event::LimiterRefused { queue_full: true } => plain.queue_full.increment(1),
            Event::LimiterRefused { queue_full: false } => plain.too_long.increment(1),
            Event::LimiterPaused { .. } => plain.pauses.increment(1),
            Event::BreakerChanged { name, from, to, .. } => breakers.changed(meter, name, from, to),
            Event::BreakerRefused { name } => breakers.refused(meter, name),
            Event::EndpointEjected { endpoint, until } => endpoints.get(meter, endpoint).ejected(until),
            Event::CredentialRefreshed { provider, renewed, .. } => {
                let provider = self.sources.provider(provider);
                let result = if renewed { "renewed" } else { "failed" };
                let labels = vec![Label::new("provider", provider), Label::new("result", result)];
                meter.counter(&REFRESHES, labels).increment(1);
            }
            _ => {}
        }
    }
}

impl Totals {
    fn ended(&self, tries: u32) {
        self.calls.fetch_add(1, Relaxed);
        if tries != 1 {
            self.further_tries.fetch_add(i64::from(tries) - 1, Relaxed);
        }
    }

    /// How many calls have ended, and how many tries they took.
    fn calls_and_tries(&self) -> (u64, u64) {
        let calls = self.calls.load(Relaxed);
        (calls, calls.saturating_add_signed(self.further_tries.load(Relaxed)))
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn under_way(&self) -> f64 {
        self.started.load(Relaxed).saturating_sub(self.calls.load(Relaxed)) as f64
    }
}

impl Plain {
    fn new(meter: &Meter) -> Self {
        meter.describe_all();
        let refusals = |reason: &'static str| meter.counter(&LIMITER_REFUSALS, vec![Label::new("reason", reason)]);
        let retries = |kind: &'static str| meter.counter(&RETRIES, vec![Label::new("kind", kind)]);
        Self {
            active: meter.gauge(&ACTIVE, Vec::new()),
            amplification: meter.gauge(&AMPLIFICATION, Vec::new()),
            backoffs: retries("backoff"),
            failovers: retries("failover"),
            budget_exhausted: meter.counter(&BUDGET_EXHAUSTED, Vec::new()),
            limiter_wait: meter.histogram(&LIMITER_WAIT, Vec::new()),
            queue_full: refusals("queue_full"),
            too_long: refusals("too_long"),
            pauses: meter.counter(&LIMITER_PAUSES, Vec::new()),
        }
    }
}

impl Observer for MetricsObserver {
    fn is_on(&self) -> bool {
        self.0.plain().is_some()
    }

    fn traces(&self, call: &CallContext) -> bool {
        self.0.tracer.as_ref().is_some_and(|tracer| call.with_facts(|facts| tracer.wants(facts)))
    }

    fn observe(&self, event: &Event<'_>) {
        let (inner, plain) = (&*self.0, self.0.plain());
        match *event {
            Event::CallStarted { .. } => _ = inner.totals.started.fetch_add(1, Relaxed),
            Event::CallEnded { context, method, outcome, status, error, duration, at: end, attempts } => {
                context.with_facts(|facts| {
                    inner.totals.ended(facts.tries);
                    if plain.is_some() {
                        inner.call_ended(facts, method, how_it_ended(outcome, status, error), duration);
                    }
                    if let (Some(tracer), Some(attempts)) = (&inner.tracer, attempts) {
                        let error = if outcome.is_none() { Some("cancelled") } else { error };
                        let error = error.filter(|_| status.is_none());
                        tracer.call_ended(facts, &TracedCall { method, status, error, duration, end, attempts });
                    }
                });
            }
            Event::AttemptTraced { context, attempt } => {
                if let Some(tracer) = &inner.tracer {
                    context.with_facts(|facts| tracer.attempt_ended(facts, attempt));
                }
            }
            ref event => {
                if let Some(plain) = plain {
                    inner.count(event, plain);
                }
            }
        }
    }
}

fn how_it_ended(outcome: Option<Outcome>, status: Option<u16>, error: Option<&str>) -> CallEnd {
    match (outcome, status, error) {
        (None, ..) => CallEnd::Dropped,
        (_, Some(status), _) => CallEnd::Status(status),
        (Some(Outcome::Failure | Outcome::Throttled), None, None) => CallEnd::Error(OTHER),
        (_, None, None) => CallEnd::Ok,
        (_, None, Some(error)) => CallEnd::Error(known(error)),
    }
}

/// A name of [`error_kind`](nudj_tower::classify::error_kind()); anything else is free text.
fn known(error: &str) -> &'static str {
    ERROR_KINDS.into_iter().find(|kind| *kind == error).unwrap_or(OTHER)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("meter", &self.meter).field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "prometheus"))]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_recorder_that_comes_later_is_found_by_the_next_call_and_calls_under_way_add_up() {
        let (observer, context) = (MetricsObserver::new(), CallContext::new());
        let end = || Event::CallEnded {
            context: &context,
            method: Some("GET"),
            outcome: Some(Outcome::Success),
            status: Some(200),
            error: None,
            duration: Duration::ZERO,
            at: Instant::now(),
            attempts: None,
        };
        assert!(!observer.is_on() && !observer.traces(&context));
        (0..3).for_each(|_| observer.observe(&Event::CallStarted { context: &context }));
        observer.observe(&end());
        observer.refresh();
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = || recorder.handle().render();
        assert_eq!(text(), "");
        metrics::with_local_recorder(&recorder, || {
            assert!(observer.is_on());
            observer.observe(&end());
            observer.refresh();
        });
        assert!(observer.is_on(), "once found, it stays");
        assert!(text().contains("\nhttp_client_active_requests 1\n"), "{}", text());
        assert!(text().contains("nudj_api_requests_total{operation=\"_OTHER\",status=\"200\"} 1\n"), "{}", text());
        assert!(text().contains("# HELP nudj_retries_total "), "{}", text());
    }
}
