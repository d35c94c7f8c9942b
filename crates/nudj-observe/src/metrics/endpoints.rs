//! What is counted per endpoint.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Label};
use nudj_tower::{Availability, classify::Outcome, round_robin::EndpointView};

use super::{
    calls::Server,
    catalogue::{ATTEMPTS, EJECTIONS, ENDPOINT_AVAILABLE, ENDPOINT_CALLS, ENDPOINT_FAILURES, ENDPOINT_IN_FLIGHT},
    growth::Growth,
    meter::Meter,
    named::{Named, OTHER},
};

#[derive(Debug, Default)]
pub(super) struct Endpoints {
    known: Named<Endpoint>,
    numbers: AtomicU32,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    /// 1 for the first; 0 is no endpoint.
    pub(super) number: u32,
    pub(super) server: Server,
    attempts: [Counter; 5],
    ejections: Counter,
    /// Made when an endpoint is first seen through a handle: without one there is nobody to read them from.
    calls: Counter,
    failures: Counter,
    in_flight: Gauge,
    available: Gauge,
}

/// Calls and failures of each endpoint that a balancer has, as they were read last. One that comes back counts from nothing.
pub(super) type Seen = HashMap<Arc<str>, [Growth; 2]>;

const OUTCOMES: [&str; 5] = ["success", "failure", "throttled", "ignored", "dropped"];

impl Endpoints {
    pub(super) fn get(&self, meter: &Meter, name: &str) -> &Endpoint {
        self.known.get(name, |name| self.make(meter, name))
    }

    fn make(&self, meter: &Meter, name: &Arc<str>) -> Endpoint {
        Endpoint::new(meter, name, self.numbers.fetch_add(1, Relaxed).saturating_add(1))
    }

    /// Whether there is an endpoint of this name that is told apart.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.known.knows(name)
    }

    /// Writes what the balancer says; an endpoint that it no longer has is not available. Those that are not told apart are added up.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub(super) fn read(&self, meter: &Meter, seen: &mut Seen, views: &[EndpointView]) {
        let mut before = std::mem::take(seen);
        let counted = views.iter().map(|view| {
            let (kept, endpoint) = self.known.entry(&view.name, |name| self.make(meter, name));
            let [mut calls, mut failures] = before.remove(&view.name).unwrap_or_default();
            endpoint.calls.increment(calls.to(view.calls));
            endpoint.failures.increment(failures.to(view.failures));
            seen.insert(Arc::clone(&view.name), [calls, failures]);
            (kept, view)
        });
        let counted: Vec<_> = counted.collect();
        for (name, endpoint) in self.known.all() {
            let own = || counted.iter().filter(|(kept, _)| Arc::ptr_eq(kept, name)).map(|(_, view)| view);
            endpoint.available.set(own().filter(|view| takes_calls(view)).count() as f64);
            endpoint.in_flight.set(own().map(|view| view.in_flight).sum::<u64>() as f64);
        }
    }

    /// The balancer is gone. That it takes no calls is no news: `NaN` is neither 0 nor 1 to an alert.
    pub(super) fn end(&self) {
        for (_, endpoint) in self.known.all() {
            endpoint.available.set(f64::NAN);
            endpoint.in_flight.set(0.0);
        }
    }
}

impl Endpoint {
    fn new(meter: &Meter, name: &Arc<str>, number: u32) -> Self {
        let label = || vec![Label::new("endpoint", Arc::clone(name))];
        let attempts = OUTCOMES.map(|outcome| {
            let labels = vec![Label::new("endpoint", Arc::clone(name)), Label::new("outcome", outcome)];
            meter.counter(&ATTEMPTS, labels)
        });
        Self {
            number,
            server: if &**name == OTHER { Server { address: OTHER.to_owned(), port: None } } else { Server::of(name) },
            attempts,
            ejections: meter.counter(&EJECTIONS, label()),
            calls: meter.counter(&ENDPOINT_CALLS, label()),
            failures: meter.counter(&ENDPOINT_FAILURES, label()),
            in_flight: meter.gauge(&ENDPOINT_IN_FLIGHT, label()),
            available: meter.gauge(&ENDPOINT_AVAILABLE, label()),
        }
    }

    pub(super) fn attempt(&self, outcome: Option<Outcome>) {
        let [success, failure, throttled, ignored, dropped] = &self.attempts;
        let counter = match outcome {
            Some(Outcome::Success) => success,
            Some(Outcome::Failure) => failure,
            Some(Outcome::Throttled) => throttled,
            Some(_) => ignored,
            None => dropped,
        };
        counter.increment(1);
    }

    pub(super) fn ejected(&self, until: Option<Duration>) {
        if until.is_some() {
            self.ejections.increment(1);
        }
    }
}

fn takes_calls(view: &EndpointView) -> bool {
    view.availability == Availability::Available && !view.down && view.ejected_for.is_none()
}
