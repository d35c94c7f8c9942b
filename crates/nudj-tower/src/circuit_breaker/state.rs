//! The words of a breaker: its states, what it is told and what it tells.

use std::time::Duration;

use crate::classify::Outcome;

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

/// Leave to make one call; to be given back to [`Breaker::settle`](super::Breaker::settle) with the call's end.
///
/// It holds the state's generation: settled after the state has changed, it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    pub(super) generation: u64,
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

/// The answer to [`Breaker::admit`](super::Breaker::admit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Leave to call, or for how long none will be given (`None`: unknown, it depends on the probes or on somebody's command).
    pub permit: Result<Permit, Option<Duration>>,
    /// Whether the state changed; then there is something to read from [`Breaker::next_untold`](super::Breaker::next_untold).
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
