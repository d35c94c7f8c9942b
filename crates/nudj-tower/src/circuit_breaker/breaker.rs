//! The decision: who may pass, and what an end changes. No clock, no runtime: time is an argument, asked for only where a rule needs it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

pub(super) use self::outside::Loss;

use self::inner::{FLAGS, Inner, Mode, PASSES, QUIET};
use super::{
    config::{CircuitBreakerConfig, Window},
    rules::Rules,
    slices::TimeSlices,
    state::{Admission, Cause, Change, End, Permit, Tick},
    window::CountRing,
};
use crate::{ConfigError, classify::Outcome};

/// A circuit breaker without a clock: values and the time in, a verdict out.
///
/// Made for those who guard something that is no service; [`CircuitBreaker`](super::CircuitBreaker) is this around one. While
/// all is well neither method writes to shared memory: each is one load.
///
/// ```
/// use nudj_tower::{circuit_breaker::{Breaker, CircuitBreakerConfig, State, Tick}, classify::Outcome};
///
/// let config = CircuitBreakerConfig { failure_threshold: 1, ..Default::default() };
/// let breaker = Breaker::new(&config, 7)?;
/// let permit = breaker.admit(|| Tick(0)).permit.unwrap();
/// breaker.settle(permit, Outcome::Failure.into(), || Tick(0));
/// assert_eq!(breaker.view(Tick(0)).state, State::Open);
/// assert!(breaker.admit(|| Tick(59_999_999_999)).permit.is_err());
/// assert!(breaker.admit(|| Tick(60_000_000_000)).permit.is_ok(), "a probe");
/// # Ok::<(), nudj_tower::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Breaker {
    /// Generation and flags, written only with the lock held. Reading it is all that a healthy call does.
    word: AtomicU64,
    rules: Arc<Rules>,
    slices: Option<Box<TimeSlices>>,
    inner: Mutex<Inner>,
}

impl Breaker {
    /// A closed breaker. `seed` is for the jitter of growing open times: give each instance its own.
    ///
    /// # Errors
    /// As [`CircuitBreakerConfig::validate`].
    pub fn new(config: &CircuitBreakerConfig, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::with_rules(Arc::new(Rules::new(config)), seed, true))
    }

    pub(super) fn with_rules(rules: Arc<Rules>, seed: u64, with_history: bool) -> Self {
        let (ring, slices) = match rules.window {
            Window::None => (None, None),
            Window::Calls(calls) => (Some(CountRing::new(calls)), None),
            Window::Time(window) => (None, Some(Box::new(TimeSlices::new(window)))),
        };
        let inner = Inner {
            mode: Mode::Closed,
            generation: 0,
            consecutive: 0,
            retrips: 0,
            ring,
            rng: fastrand::Rng::with_seed(seed),
            history: with_history.then(Box::default),
        };
        Self { word: AtomicU64::new(inner.word()), rules, slices, inner: Mutex::new(inner) }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Asks to make a call now. `now` is only called where the circuit is not closed.
    #[inline]
    pub fn admit(&self, now: impl FnOnce() -> Tick) -> Admission {
        let word = self.word.load(Ordering::Acquire);
        if word & PASSES != 0 {
            return Admission { permit: Ok(Permit { generation: word >> FLAGS }), changed: false };
        }
        self.admit_locked(now())
    }

    /// Whether every call passes, seen without a lock.
    #[inline]
    pub(super) fn passes(&self) -> bool {
        self.word.load(Ordering::Acquire) & PASSES != 0
    }

    /// Gives a permit back with the call's end; tells whether the state changed. `now` is only called where it may, or where the window
    /// is one of time.
    #[inline]
    pub fn settle(&self, permit: Permit, end: End, now: impl FnOnce() -> Tick) -> bool {
        let slow = self.rules.slow_call.is_some() && self.rules.is_slow(end.took);
        if matches!(end.outcome, Outcome::Success) && !slow {
            // Whether the permit is of this generation is asked where something would be written.
            let word = self.word.load(Ordering::Acquire);
            if word & (PASSES | QUIET) == PASSES | QUIET {
                let Some(slices) = &self.slices else { return false };
                let now = now();
                return !slices.record_success(permit.generation, now) && self.evaluate_slices(permit, end, now);
            }
            if word & PASSES != 0 && self.slices.is_none() {
                return self.record_success(permit, end, now);
            }
        }
        if matches!(end.outcome, Outcome::Ignored) && self.passes() {
            return false;
        }
        self.settle_locked(permit, end, slow, now)
    }

    #[cold]
    fn admit_locked(&self, now: Tick) -> Admission {
        let mut inner = self.inner.lock();
        let mut changed = self.end_overdue_probing(&mut inner, now);
        let permit = Permit { generation: inner.generation };
        let permit = match &mut inner.mode {
            Mode::Closed | Mode::Disabled | Mode::MetricsOnly => Ok(permit),
            Mode::ForcedOpen => Err(None),
            Mode::Open { until } if now < *until => Err(Some(until.since(now))),
            Mode::Open { .. } => {
                let until = now.after(self.rules.half_open_for);
                let mode = Mode::HalfOpen { until, admitted: 1, succeeded: 0, failed: 0 };
                self.enter(&mut inner, mode, now, Cause::ProbeDue);
                changed = true;
                Ok(Permit { generation: inner.generation })
            }
            Mode::HalfOpen { admitted, .. } if *admitted < self.rules.probes => {
                *admitted += 1;
                Ok(permit)
            }
            Mode::HalfOpen { .. } => Err(None),
        };
        Admission { permit, changed }
    }

    fn settle_locked(&self, permit: Permit, end: End, slow: bool, now: impl FnOnce() -> Tick) -> bool {
        let mut inner = self.inner.lock();
        if inner.generation != permit.generation {
            return false;
        }
        match inner.mode {
            Mode::Closed | Mode::MetricsOnly => self.record(&mut inner, end, slow, now),
            Mode::HalfOpen { .. } => self.settle_probe(&mut inner, end, slow, now()),
            Mode::Open { .. } | Mode::ForcedOpen | Mode::Disabled => false,
        }
    }

    /// The usual case of [`record`](Self::record), where the last calls were not all successes.
    #[inline]
    fn record_success(&self, permit: Permit, end: End, now: impl FnOnce() -> Tick) -> bool {
        let mut inner = self.inner.lock();
        if inner.generation != permit.generation {
            return false;
        }
        inner.consecutive = 0;
        let mut rate = None;
        if let Some(ring) = &mut inner.ring {
            ring.push(false, false);
            rate = self.rules.breached(ring.tally());
        }
        self.conclude(&mut inner, rate, end, now)
    }

    #[inline]
    fn record(&self, inner: &mut Inner, end: End, slow: bool, now: impl FnOnce() -> Tick) -> bool {
        let failed = match end.outcome {
            Outcome::Ignored => return false,
            Outcome::Success => {
                inner.consecutive = 0;
                false
            }
            Outcome::Failure => {
                inner.consecutive = inner.consecutive.saturating_add(1);
                true
            }
            // Throttled is not sick: it counts for rates only.
            Outcome::Throttled => true,
        };
        if let Some(slices) = &self.slices {
            let now = now();
            slices.record(inner.generation, now, failed, slow);
            let rate = self.rules.breached(slices.evaluate(now, self.rules.minimum_calls));
            return self.conclude(inner, rate, end, || now);
        }
        let rate = inner.ring.as_mut().and_then(|ring| {
            ring.push(failed, slow);
            self.rules.breached(ring.tally())
        });
        self.conclude(inner, rate, end, now)
    }

    #[inline]
    fn conclude(&self, inner: &mut Inner, rate: Option<Cause>, end: End, now: impl FnOnce() -> Tick) -> bool {
        let threshold = self.rules.failure_threshold;
        let in_a_row = (threshold > 0 && inner.consecutive >= threshold).then_some(Cause::ConsecutiveFailures);
        match (in_a_row.or(rate), inner.mode) {
            (Some(cause), Mode::Closed) => {
                self.open(inner, now(), cause, end.retry_after);
                true
            }
            _ => {
                self.word.store(inner.word(), Ordering::Release);
                false
            }
        }
    }

    /// A success was counted in a slice of time that nobody has looked at yet: the rate may have risen because older calls
    /// left the window, or the minimum may have been reached.
    fn evaluate_slices(&self, permit: Permit, end: End, now: Tick) -> bool {
        let mut inner = self.inner.lock();
        let Some(slices) = &self.slices else { return false };
        if inner.generation != permit.generation {
            return false;
        }
        let rate = self.rules.breached(slices.evaluate(now, self.rules.minimum_calls));
        self.conclude(&mut inner, rate, end, || now)
    }

    fn settle_probe(&self, inner: &mut Inner, end: End, slow: bool, now: Tick) -> bool {
        if self.end_overdue_probing(inner, now) {
            return true;
        }
        let Mode::HalfOpen { admitted, succeeded, failed, .. } = &mut inner.mode else { return false };
        let too_slow = slow && self.rules.slow_call_rate.is_some();
        match end.outcome {
            // Its place is free again: nothing was learned.
            Outcome::Ignored => *admitted = admitted.saturating_sub(1),
            Outcome::Success if !too_slow => *succeeded += 1,
            Outcome::Success | Outcome::Failure | Outcome::Throttled => *failed += 1,
        }
        let (succeeded, failed) = (*succeeded, *failed);
        if succeeded >= self.rules.needed {
            self.enter(inner, Mode::Closed, now, Cause::ProbesSucceeded);
        } else if self.rules.probes.saturating_sub(failed) < self.rules.needed {
            self.open(inner, now, Cause::ProbesFailed, end.retry_after);
        } else {
            return false;
        }
        true
    }

    /// Half-open has a deadline. It passed when it passed, not when somebody came to look.
    fn end_overdue_probing(&self, inner: &mut Inner, now: Tick) -> bool {
        match inner.mode {
            Mode::HalfOpen { until, .. } if now >= until => {
                self.open(inner, until, Cause::ProbesTookTooLong, None);
                true
            }
            _ => false,
        }
    }

    #[cold]
    fn open(&self, inner: &mut Inner, at: Tick, cause: Cause, retry_after: Option<Duration>) {
        inner.retrips = match inner.mode {
            Mode::HalfOpen { .. } => inner.retrips.saturating_add(1),
            _ => 0,
        };
        let (retrips, rng) = (inner.retrips, &mut inner.rng);
        let open_for = self.rules.open_for(retrips, || rng.f64(), retry_after);
        self.enter(inner, Mode::Open { until: at.after(open_for) }, at, cause);
    }

    /// The one place where the state changes: a new generation, with nothing counted.
    fn enter(&self, inner: &mut Inner, mode: Mode, at: Tick, cause: Cause) {
        let open_for = if let Mode::Open { until } = mode { Some(until.since(at)) } else { None };
        let change = Change { from: inner.mode.state(), to: mode.state(), cause, at, open_for };
        if let Some(history) = inner.history.as_mut().filter(|_| change.from != change.to) {
            history.push(change);
        }
        inner.generation += 1;
        inner.mode = mode;
        inner.consecutive = 0;
        if let Some(ring) = &mut inner.ring {
            ring.clear();
        }
        if let Some(slices) = &self.slices {
            // A generation of no permit where nothing is to be counted.
            slices.clear(if inner.counts() { inner.generation } else { u64::MAX });
        }
        // Last, so that whoever holds a permit of this generation finds windows of this generation.
        self.word.store(inner.word(), Ordering::Release);
    }
}

mod inner;
mod outside;

#[cfg(test)]
mod tests;
