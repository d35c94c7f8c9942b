//! The configuration as the breaker uses it: what is met, how long to stay open.

use std::time::Duration;

use super::{
    config::{CircuitBreakerConfig, Window},
    state::Cause,
};

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) slow: u64,
}

/// The configuration with its alternatives and defaults settled.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) failure_threshold: u32,
    pub(super) failure_rate: Option<f64>,
    pub(super) slow_call_rate: Option<f64>,
    pub(super) slow_call: Option<Duration>,
    pub(super) window: Window,
    pub(super) minimum_calls: u64,
    /// So many failures meet the rate where there are `minimum_calls`; with more calls it takes at least as many.
    least_failed: u64,
    least_slow: u64,
    pub(super) probes: u32,
    pub(super) needed: u32,
    pub(super) half_open_for: Duration,
    pub(super) abandoned_after: Option<Duration>,
    max_retry_after: Duration,
    open_for: Duration,
    growth: f64,
    max_open_for: Duration,
}

impl Rules {
    pub(super) fn new(config: &CircuitBreakerConfig) -> Self {
        let minimum_calls = u64::from(config.resolved_minimum_calls());
        let least = |rate: Option<f64>| {
            rate.map_or(u64::MAX, |rate| {
                let near = (rate * minimum_calls as f64) as u64;
                (near.saturating_sub(1)..minimum_calls)
                    .find(|&part| share(part, minimum_calls) >= rate)
                    .unwrap_or(minimum_calls)
            })
        };
        Self {
            least_failed: least(config.failure_rate),
            least_slow: least(config.slow_call_rate),
            failure_threshold: config.failure_threshold,
            failure_rate: config.failure_rate,
            slow_call_rate: config.slow_call_rate,
            slow_call: config.slow_call,
            window: config.resolved_window(),
            minimum_calls,
            probes: config.half_open_probes,
            needed: config.success_threshold.unwrap_or(config.half_open_probes),
            half_open_for: config.half_open_for.unwrap_or(config.open_for),
            abandoned_after: config.resolved_abandoned_after(),
            max_retry_after: config.max_retry_after,
            open_for: config.open_for,
            growth: config.open_growth,
            max_open_for: config.max_open_for,
        }
    }

    pub(super) fn is_slow(&self, took: Duration) -> bool {
        self.slow_call.is_some_and(|limit| took >= limit)
    }

    /// Whether anything asks how long a call took.
    pub(super) fn needs_start(&self) -> bool {
        self.slow_call.is_some() || self.abandoned_after.is_some()
    }

    /// Which rate is met by what the window holds.
    #[inline]
    pub(super) fn breached(&self, tally: Tally) -> Option<Cause> {
        // The usual case, without a division.
        if (tally.failed < self.least_failed && tally.slow < self.least_slow) || tally.calls < self.minimum_calls {
            return None;
        }
        if self.failure_rate.is_some_and(|limit| share(tally.failed, tally.calls) >= limit) {
            Some(Cause::FailureRate)
        } else if self.slow_call_rate.is_some_and(|limit| share(tally.slow, tally.calls) >= limit) {
            Some(Cause::SlowCallRate)
        } else {
            None
        }
    }

    /// How long to stay open when it is the `retrips`-th time in a row after the first; `draw` is 0 to 1.
    pub(super) fn open_for(&self, retrips: u32, draw: impl FnOnce() -> f64, retry_after: Option<Duration>) -> Duration {
        let own = if retrips == 0 || self.growth <= 1.0 {
            self.open_for
        } else {
            let exponent = i32::try_from(retrips).unwrap_or(i32::MAX);
            let grown = (self.open_for.as_secs_f64() * self.growth.powi(exponent)).min(self.max_open_for.as_secs_f64());
            let jittered = grown * (0.5 + 0.5 * draw());
            Duration::try_from_secs_f64(jittered).unwrap_or(self.max_open_for).clamp(self.open_for, self.max_open_for)
        };
        own.max(retry_after.map_or(Duration::ZERO, |wait| wait.min(self.max_retry_after)))
    }
}

/// A quotient, not a product: 7 of 100 is the very number that 0.07 is read as, while 0.07 x 100 is more than 7.
fn share(part: u64, calls: u64) -> f64 {
    part as f64 / calls as f64
}
