//! From events to counts.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram, Label, Recorder};
use nudj_tower::{
    CallContext,
    classify::Outcome,
    observe::{Event, Observer},
};
use parking_lot::Mutex;

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
    plain: Plain,
    totals: Totals,
    amplification: Mutex<Amplification>,
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

#[derive(Default)]
struct Totals {
    calls: AtomicU64,
    tries: AtomicU64,
}

impl MetricsObserver {
    /// Counts into the process's recorder, which must have been installed before: what was counted without one is lost.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Meter::new(None))
    }

    /// Counts into `recorder` alone.
    #[must_use]
    pub fn over(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self::with(Meter::new(Some(recorder)))
    }

    fn with(meter: Meter) -> Self {
        let refusals = |reason: &'static str| meter.counter(&LIMITER_REFUSALS, vec![Label::new("reason", reason)]);
        let retries = |kind: &'static str| meter.counter(&RETRIES, vec![Label::new("kind", kind)]);
        let plain = Plain {
            active: meter.gauge(&ACTIVE, Vec::new()),
            amplification: meter.gauge(&AMPLIFICATION, Vec::new()),
            backoffs: retries("backoff"),
            failovers: retries("failover"),
            budget_exhausted: meter.counter(&BUDGET_EXHAUSTED, Vec::new()),
            limiter_wait: meter.histogram(&LIMITER_WAIT, Vec::new()),
            queue_full: refusals("queue_full"),
            too_long: refusals("too_long"),
            pauses: meter.counter(&LIMITER_PAUSES, Vec::new()),
        };
        Self(Arc::new(Inner {
            meter,
            breakers: Breakers::default(),
            endpoints: Endpoints::default(),
            sources: Sources::default(),
            calls: Calls::default(),
            plain,
            totals: Totals::default(),
            amplification: Mutex::default(),
        }))
    }

    /// For who asks it from within a recorder, which it would else keep alive.
    #[cfg(feature = "otlp")]
    pub(crate) fn downgrade(&self) -> WeakObserver {
        WeakObserver(Arc::downgrade(&self.0))
    }

    /// Reads what has to be asked for: states, queues, budgets, whatever was given to `watch` and its like. Called by
    /// [`Prometheus`](crate::prometheus::Prometheus) before each answer; call it every few seconds over another recorder.
    pub fn refresh(&self) {
        let Inner { plain, totals, amplification, sources, .. } = &*self.0;
        let (calls, tries) = (totals.calls.load(Relaxed), totals.tries.load(Relaxed));
        let now = tokio::time::Instant::now();
        plain.amplification.set(amplification.lock().ratio(calls, tries, now));
        sources.read();
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
    fn call_ended(&self, context: &CallContext, method: Option<&'static str>, end: CallEnd, duration: Duration) {
        let route = context.route();
        let endpoint = context.endpoint().map(|name| self.endpoints.get(&self.meter, &name));
        let kind = CallKind {
            operation: route.map_or(OTHER, |route| route.operation),
            template: route.map_or(OTHER, |route| route.template),
            method: method.unwrap_or(OTHER),
            end,
            endpoint: endpoint.as_ref().map_or(0, |endpoint| endpoint.number),
        };
        self.calls.count(&self.meter, kind, endpoint.as_deref().map(|endpoint| &endpoint.server), duration);
        self.totals.calls.fetch_add(1, Relaxed);
        self.totals.tries.fetch_add(u64::from(context.tries()), Relaxed);
    }
}

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event<'_>) {
        let Inner { meter, plain, endpoints, breakers, .. } = &*self.0;
        match *event {
            Event::CallStarted { .. } => plain.active.increment(1.0),
            Event::CallEnded { context, method, outcome, status, error, duration } => {
                plain.active.decrement(1.0);
                self.0.call_ended(context, method, how_it_ended(outcome, status, error), duration);
            }
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
                let provider = self.0.sources.provider(provider);
                let result = if renewed { "renewed" } else { "failed" };
                let labels = vec![Label::new("provider", provider), Label::new("result", result)];
                meter.counter(&REFRESHES, labels).increment(1);
            }
            _ => {}
        }
    }
}

fn how_it_ended(outcome: Option<Outcome>, status: Option<u16>, error: Option<&str>) -> CallEnd {
    match (outcome, status, error) {
        (None, ..) => CallEnd::Dropped,
        (_, Some(status), _) => CallEnd::Status(status),
        (_, None, None) => CallEnd::Error("ok"),
        (_, None, Some(error)) => CallEnd::Error(known(error)),
    }
}

/// The names of [`error_kind`](nudj_tower::classify::error_kind()); anything else is free text.
fn known(error: &str) -> &'static str {
    const KINDS: [&str; 8] = [
        "timeout",
        "circuit_open",
        "rate_limited",
        "no_endpoint",
        "connect",
        "transport",
        "body_too_large",
        "invalid_request",
    ];
    KINDS.into_iter().find(|kind| *kind == error).unwrap_or(OTHER)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("meter", &self.meter).field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
