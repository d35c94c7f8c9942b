//! What is read from the layers' handles when a snapshot is made.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use nudj_client::stack::Handles;
use nudj_tower::circuit_breaker::{BreakerHandle, Cause};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    collector::Collector,
    recent::clipped,
    seconds::MAX_ENDPOINTS,
    view::{BreakerView, Change, EndpointCard, Limiter, Named, Token, millis},
};

/// Caches and receivers shown at most, each.
const MAX_FIGURES: usize = 8;

type Read = Box<dyn Fn() -> Value + Send + Sync>;

/// Figures that are read when somebody looks.
#[derive(Default)]
pub(super) struct Figures(Vec<(String, Read)>);

impl Figures {
    /// Replaces those of the same name. False when there are as many as are shown.
    pub(super) fn set(&mut self, name: &str, read: Read) -> bool {
        let name = clipped(name);
        if let Some(known) = self.0.iter_mut().find(|(known, _)| *known == name) {
            known.1 = read;
            return true;
        }
        let fits = self.0.len() < MAX_FIGURES;
        if fits {
            self.0.push((name, read));
        }
        fits
    }

    fn read(&self) -> Vec<Named> {
        // A user's function that panics must not end the page for everybody.
        let value = |read: &Read| catch_unwind(AssertUnwindSafe(read)).unwrap_or_default();
        self.0.iter().map(|(name, read)| Named { name: name.clone(), stats: value(read) }).collect()
    }
}

/// Everything that is shown beside what the observer counts.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) client: Option<Handles>,
    pub(super) caches: Figures,
    pub(super) webhooks: Figures,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("client", &self.client.is_some()).finish_non_exhaustive()
    }
}

/// What was read of them.
#[derive(Debug, Default)]
pub(super) struct Readings {
    pub(super) endpoints: Vec<EndpointCard>,
    pub(super) limiter: Option<Limiter>,
    pub(super) retry_budget: Option<u64>,
    pub(super) credentials: Option<Token>,
    pub(super) caches: Vec<Named>,
    pub(super) webhooks: Vec<Named>,
}

impl Sources {
    pub(super) fn read(&self, collector: &Collector, now: Instant) -> Readings {
        let mut readings =
            Readings { caches: self.caches.read(), webhooks: self.webhooks.read(), ..Readings::default() };
        if let Some(handles) = &self.client {
            readings.endpoints = endpoints(handles, collector, now);
            readings.limiter = Some(limiter(handles, now));
            readings.retry_budget = handles.retry_budget().map(nudj_tower::retry::RetryBudget::left);
            readings.credentials = Some(token(handles, collector, now));
        }
        readings
    }
}

fn endpoints(handles: &Handles, collector: &Collector, now: Instant) -> Vec<EndpointCard> {
    let breakers = handles.breakers();
    let card = |endpoint: &nudj_tower::round_robin::EndpointView| {
        let (attempts, failed) = collector.attempts(&endpoint.name, now);
        EndpointCard {
            name: endpoint.name.to_string(),
            weight: endpoint.weight,
            calls: endpoint.calls,
            failures: endpoint.failures,
            in_flight: endpoint.in_flight,
            down: endpoint.down,
            ejected_ms: endpoint.ejected_for.map(millis),
            breaker: breakers.iter().find(|breaker| breaker.name() == &*endpoint.name).map(|b| breaker(b, now)),
            attempts,
            failed,
        }
    };
    handles.endpoints().endpoints().iter().take(MAX_ENDPOINTS).map(card).collect()
}

fn breaker(handle: &BreakerHandle, now: Instant) -> BreakerView {
    let view = handle.view();
    let change = |change: &nudj_tower::circuit_breaker::Transition| Change {
        from: change.from.as_str(),
        to: change.to.as_str(),
        cause: cause(change.cause),
        age_ms: millis(now.saturating_duration_since(change.at)),
    };
    BreakerView {
        state: view.state.as_str(),
        until_probe_ms: view.until_probe.map(millis),
        consecutive_failures: handle.counts().consecutive_failures,
        history: handle.transitions().iter().map(change).collect(),
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::ConsecutiveFailures => "failures in a row",
        Cause::FailureRate => "failure rate",
        Cause::SlowCallRate => "slow calls",
        Cause::ProbeDue => "probe due",
        Cause::ProbesFailed => "probe failed",
        Cause::ProbesTookTooLong => "probes took too long",
        Cause::ProbesSucceeded => "probe succeeded",
        Cause::Command => "by command",
        _ => "",
    }
}

fn limiter(handles: &Handles, now: Instant) -> Limiter {
    let limiter = handles.rate_limit();
    let counts = limiter.counts();
    Limiter {
        queue: limiter.queue_depth(),
        available: limiter.available(),
        paused_ms: limiter.paused_until().map(|until| millis(until.saturating_duration_since(now))),
        granted: counts.granted,
        waited: counts.waited,
        refused: counts.refused,
    }
}

fn token(handles: &Handles, collector: &Collector, now: Instant) -> Token {
    let snapshot = handles.credentials().snapshot();
    Token {
        provider: clipped(&snapshot.provider),
        generation: snapshot.generation,
        expires_ms: snapshot.expires_in.map(millis),
        age_ms: collector.renewed_ago(now).map(millis),
        fallback: snapshot.has_fallback,
    }
}
