//! The decision: who may pass, and what an end changes. No clock, no runtime: time is an argument, asked for only where a rule needs it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    config::{CircuitBreakerConfig, Window},
    rules::{Rules, Tally},
    slices::TimeSlices,
    window::CountRing,
};
use crate::{ConfigError, classify::Outcome};

/// A moment, as nanoseconds since whatever its user counts from; never the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The moment `duration` after this one; the end of time if there is none.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()));
        Self(self.0.saturating_add(nanos))
    }

    /// From `earlier` to this moment; zero if that lies after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// All pass, and their ends are counted.
    Closed,
    /// None passes until its time is over.
    Open,
    /// A few pass to show whether the other side has recovered.
    HalfOpen,
    /// None passes until somebody says otherwise.
    ForcedOpen,
    /// All pass, and nothing is counted.
    Disabled,
    /// All pass, their ends are counted, and nothing follows from it.
    MetricsOnly,
}

impl State {
    /// Every state, for gauges that have one series for each.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::ForcedOpen, Self::Disabled, Self::MetricsOnly];

    /// The name in events and metrics: `closed`, `open`, `half_open`, `forced_open`, `disabled`, `metrics_only`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics_only",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// `failure_threshold` failures in a row.
    ConsecutiveFailures,
    /// `failure_rate` of the window failed.
    FailureRate,
    /// `slow_call_rate` of the window was slow.
    SlowCallRate,
    /// The open time is over and a call came.
    ProbeDue,
    /// So many probes failed that the needed successes cannot be reached.
    ProbesFailed,
    /// The probes took longer than `half_open_for`.
    ProbesTookTooLong,
    /// As many probes succeeded as are needed.
    ProbesSucceeded,
    /// Somebody said so through the handle.
    Command,
}

/// Leave to make one call; to be given back to [`Breaker::settle`] with the call's end.
///
/// It holds the state's generation: settled after the state has changed, it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    generation: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// What the answer meant.
    pub outcome: Outcome,
    /// How long the call took; only read where `slow_call` is set.
    pub took: Duration,
    /// What the server asked for, unclamped.
    pub retry_after: Option<Duration>,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, took: Duration::ZERO, retry_after: None }
    }
}

/// The answer to [`Breaker::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Leave to call, or for how long none will be given (`None`: unknown, it depends on the probes or on somebody's command).
    pub permit: Result<Permit, Option<Duration>>,
    /// Whether the state changed; then there is something to read from [`Breaker::next_untold`].
    pub changed: bool,
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// When. A half-open state whose time ran out ended then, even if nobody asked until later.
    pub at: Tick,
    /// For an open state, how long it lasts.
    pub open_for: Option<Duration>,
}

/// What a breaker shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// The state at the moment asked about.
    pub state: State,
    /// Whether a call made then would pass.
    pub admits: bool,
    /// For an open state, how long until a probe may pass; zero when one may.
    pub until_probe: Option<Duration>,
}

/// What a breaker has counted in its present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Calls in the window; 0 without a rate rule.
    pub calls: u64,
    /// Failures and throttled calls in the window.
    pub failed: u64,
    /// Slow calls in the window.
    pub slow: u64,
}

/// Changes kept for whoever looks later.
pub(super) const HISTORY: usize = 32;

/// Set while every call passes without a look at anything else.
const PASSES: u64 = 1;
/// Set while a plain success changes nothing: no failure to forget, and a ring, if any, full of successes.
const QUIET: u64 = 2;
const FLAGS: u32 = 2;

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

#[derive(Debug)]
struct Inner {
    mode: Mode,
    generation: u64,
    consecutive: u32,
    /// How often it opened again since it was last closed.
    retrips: u32,
    ring: Option<CountRing>,
    rng: fastrand::Rng,
    history: VecDeque<Change>,
    /// How many of the newest changes nobody was told about.
    untold: usize,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Closed,
    Open { until: Tick },
    HalfOpen { until: Tick, admitted: u32, succeeded: u32, failed: u32 },
    ForcedOpen,
    Disabled,
    MetricsOnly,
}

impl Mode {
    fn state(&self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::Open { .. } => State::Open,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::ForcedOpen => State::ForcedOpen,
            Self::Disabled => State::Disabled,
            Self::MetricsOnly => State::MetricsOnly,
        }
    }
}

impl Breaker {
    /// A closed breaker. `seed` is for the jitter of growing open times: give each instance its own.
    ///
    /// # Errors
    /// As [`CircuitBreakerConfig::validate`].
    pub fn new(config: &CircuitBreakerConfig, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::with_rules(Arc::new(Rules::new(config)), seed))
    }

    pub(super) fn with_rules(rules: Arc<Rules>, seed: u64) -> Self {
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
            history: VecDeque::new(),
            untold: 0,
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

    /// Gives a permit back with the call's end; tells whether the state changed. `now` is only called where it may, or where the window
    /// is one of time.
    #[inline]
    pub fn settle(&self, permit: Permit, end: End, now: impl FnOnce() -> Tick) -> bool {
        let slow = self.rules.slow_call.is_some() && self.rules.is_slow(end.took);
        if matches!(end.outcome, Outcome::Success) && !slow {
            let word = self.word.load(Ordering::Acquire);
            if word >> FLAGS != permit.generation {
                return false;
            }
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
        match (rate, inner.mode) {
            (Some(cause), Mode::Closed) => {
                self.open(&mut inner, now(), cause, end.retry_after);
                true
            }
            _ => {
                self.word.store(inner.word(), Ordering::Release);
                false
            }
        }
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
        let cause = self.rules.breached(slices.evaluate(now, self.rules.minimum_calls));
        match (cause, inner.mode) {
            (Some(cause), Mode::Closed) => {
                self.open(&mut inner, now, cause, end.retry_after);
                true
            }
            _ => false,
        }
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
        if change.from != change.to {
            if inner.history.len() >= HISTORY {
                inner.history.pop_front();
            }
            inner.history.push_back(change);
            inner.untold = (inner.untold + 1).min(HISTORY);
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

    fn command(&self, mode: Mode, now: Tick) {
        let mut inner = self.inner.lock();
        self.end_overdue_probing(&mut inner, now);
        inner.retrips = 0;
        self.enter(&mut inner, mode, now, Cause::Command);
    }

    /// Refuses every call from now on.
    pub fn force_open(&self, now: Tick) {
        self.command(Mode::ForcedOpen, now);
    }

    /// Lets every call pass from now on and counts nothing.
    pub fn disable(&self, now: Tick) {
        self.command(Mode::Disabled, now);
    }

    /// Lets every call pass from now on; counts, and draws no conclusion.
    pub fn metrics_only(&self, now: Tick) {
        self.command(Mode::MetricsOnly, now);
    }

    /// Closed, as new: nothing counted, no growth.
    pub fn reset(&self, now: Tick) {
        self.command(Mode::Closed, now);
    }

    /// Whether every call passes, seen without a lock.
    #[inline]
    pub(super) fn passes(&self) -> bool {
        self.word.load(Ordering::Acquire) & PASSES != 0
    }

    /// The state at `now`. A half-open state whose time is over ends here: look at [`next_untold`](Self::next_untold) afterwards.
    #[must_use]
    pub fn view(&self, now: Tick) -> View {
        let mut inner = self.inner.lock();
        self.end_overdue_probing(&mut inner, now);
        let (admits, until_probe) = match inner.mode {
            Mode::Closed | Mode::Disabled | Mode::MetricsOnly => (true, None),
            Mode::Open { until } => (now >= until, Some(until.since(now))),
            Mode::HalfOpen { admitted, .. } => (admitted < self.rules.probes, None),
            Mode::ForcedOpen => (false, None),
        };
        View { state: inner.mode.state(), admits, until_probe }
    }

    /// What is counted at `now`.
    #[must_use]
    pub fn counts(&self, now: Tick) -> Counts {
        let inner = self.inner.lock();
        let tally = match (&inner.ring, &self.slices) {
            (Some(ring), _) => ring.tally(),
            (None, Some(slices)) => slices.tally(now),
            (None, None) => Tally::default(),
        };
        Counts { consecutive_failures: inner.consecutive, calls: tally.calls, failed: tally.failed, slow: tally.slow }
    }

    /// The newest changes of state, at most 32, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Change> {
        self.inner.lock().history.iter().copied().collect()
    }

    /// The oldest change that this method has not returned yet, so that each is told once and in order.
    pub fn next_untold(&self) -> Option<Change> {
        let mut inner = self.inner.lock();
        let change = inner.history.len().checked_sub(inner.untold).and_then(|at| inner.history.get(at).copied());
        if change.is_some() {
            inner.untold -= 1;
        }
        change
    }
}

impl Inner {
    fn counts(&self) -> bool {
        matches!(self.mode, Mode::Closed | Mode::MetricsOnly)
    }

    fn word(&self) -> u64 {
        let flags = match self.mode {
            Mode::Closed | Mode::MetricsOnly => {
                let quiet = self.consecutive == 0 && self.ring.as_ref().is_none_or(CountRing::is_quiet);
                if quiet { PASSES | QUIET } else { PASSES }
            }
            Mode::Disabled => PASSES | QUIET,
            Mode::Open { .. } | Mode::HalfOpen { .. } | Mode::ForcedOpen => 0,
        };
        self.generation << FLAGS | flags
    }
}

#[cfg(test)]
mod tests;
