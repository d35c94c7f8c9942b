//! Counts what the layers report.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nudj::tower::observe::{Event, Observer};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: AtomicU64,
    pub(crate) attempts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) failovers: AtomicU64,
    pub(crate) budget_exhausted: AtomicU64,
    pub(crate) limiter_waits: AtomicU64,
    pub(crate) limiter_wait_ms: AtomicU64,
    pub(crate) limiter_refused: AtomicU64,
    pub(crate) limiter_paused: AtomicU64,
    pub(crate) breaker_opened: AtomicU64,
    pub(crate) breaker_closed: AtomicU64,
    pub(crate) breaker_refused: AtomicU64,
    pub(crate) ejected: AtomicU64,
}

impl Observer for Tally {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::CallEnded { .. } => add(&self.calls),
            Event::AttemptEnded { .. } => add(&self.attempts),
            Event::Retried { failover: true, .. } => add(&self.failovers),
            Event::Retried { .. } => add(&self.retries),
            Event::RetryBudgetExhausted => add(&self.budget_exhausted),
            Event::LimiterWaited { waited } => {
                add(&self.limiter_waits);
                self.limiter_wait_ms.fetch_add(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), Relaxed);
            }
            Event::LimiterRefused { .. } => add(&self.limiter_refused),
            Event::LimiterPaused { .. } => add(&self.limiter_paused),
            Event::BreakerChanged { to: "open", .. } => add(&self.breaker_opened),
            Event::BreakerChanged { to: "closed", .. } => add(&self.breaker_closed),
            Event::BreakerRefused { .. } => add(&self.breaker_refused),
            Event::EndpointEjected { until: Some(_), .. } => add(&self.ejected),
            _ => {}
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What a counter says now.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}
