//! What is counted per endpoint.

use std::{
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

const OUTCOMES: [&str; 5] = ["success", "failure", "throttled", "ignored", "dropped"];

impl Endpoints {
    pub(super) fn get(&self, meter: &Meter, name: &str) -> &Endpoint {
        self.known.get(name, |name| self.make(meter, name))
    }

    fn make(&self, meter: &Meter, name: &Arc<str>) -> Endpoint {
        Endpoint::new(meter, name, self.numbers.fetch_add(1, Relaxed).saturating_add(1))
    }

    /// Writes what the balancer says; an endpoint that it no longer has is not available.
    pub(super) fn read(&self, meter: &Meter, views: &[EndpointView]) {
        for view in views {
            self.get(meter, &view.name).read(view);
        }
        for (name, endpoint) in self.known.all() {
            if !views.iter().any(|view| view.name == *name) {
                endpoint.available.set(0.0);
                endpoint.in_flight.set(0.0);
            }
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

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn read(&self, view: &EndpointView) {
        self.calls.absolute(view.calls);
        self.failures.absolute(view.failures);
        self.in_flight.set(view.in_flight as f64);
        let takes_calls = view.availability == Availability::Available && !view.down && view.ejected_for.is_none();
        self.available.set(f64::from(u8::from(takes_calls)));
    }
}
