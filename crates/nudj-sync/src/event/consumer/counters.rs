//! What a consumer did so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Counts since the consumer was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Events handled.
    pub handled: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Events given up, whatever became of them since.
    pub dead_lettered: u64,
    /// Calls of a handler left out, because it had handled the event before.
    pub known: u64,
    /// Leases that ran out before their event was settled; it is handled again.
    pub lost_leases: u64,
    /// Events given back, and no handler called, because their claim had taken so long that the lease might have ended first: when it
    /// grows, make [`lease`](crate::event::ConsumerConfig) longer.
    pub given_back: u64,
    /// Operations on the bus or the store of processed ids that failed, and were or will be repeated.
    pub store_errors: u64,
    /// Gauge: events in handlers' hands.
    pub in_flight: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handled: Counter,
    pub(super) failed_attempts: Counter,
    pub(super) dead_lettered: Counter,
    pub(super) known: Counter,
    pub(super) lost_leases: Counter,
    pub(super) given_back: Counter,
    pub(super) store_errors: Counter,
    pub(super) in_flight: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            handled: self.handled.get(),
            failed_attempts: self.failed_attempts.get(),
            dead_lettered: self.dead_lettered.get(),
            known: self.known.get(),
            lost_leases: self.lost_leases.get(),
            given_back: self.given_back.get(),
            store_errors: self.store_errors.get(),
            in_flight: self.in_flight.load(Relaxed),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
