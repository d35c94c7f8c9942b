use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// When a circuit opens, how long it stays open, and what closes it again.
///
/// In TOML, as section `[circuit_breaker]`:
///
/// ```
/// # use nudj_tower::circuit_breaker::CircuitBreakerConfig;
/// let config: CircuitBreakerConfig = toml::from_str(r#"
///     failure_threshold = 5       # five failures in a row open it,
///     failure_rate = 0.5          # or half of
///     window = "30s"              # the last 30 s' calls,
///     minimum_calls = 20          # if those were at least 20
///     open_for = "60s"
/// "#)?;
/// assert!(config.validate().is_ok());
/// # Ok::<(), toml::de::Error>(())
/// ```
///
/// The rules are any-of: the first that is met opens the circuit. All comparisons are "at least". With `failure_threshold = 0`
/// and no rate the circuit never opens by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitBreakerConfig {
    /// Failures in a row that open the circuit; 0 turns this rule off. Default: 5.
    pub failure_threshold: u32,
    /// The share of failures and throttled calls (429) in the window that opens the circuit; above 0, up to 1. Default: rule off.
    pub failure_rate: Option<f64>,
    /// From which duration on a call counts as slow, whatever it ended in. Default: none is slow.
    #[serde(with = "humantime_serde")]
    pub slow_call: Option<Duration>,
    /// The share of slow calls in the window that opens the circuit; above 0, up to 1; needs `slow_call`. Default: rule off.
    pub slow_call_rate: Option<f64>,
    /// The rates are taken over this many last calls, 1 to 1 000 000 (2 bits each). Not together with `window`. Default: 100 when a
    /// rate is set and `window` is not.
    pub window_calls: Option<u32>,
    /// The rates are taken over the calls that ended in this last time, at least 10 ms, kept in ten slices: a call counts for
    /// nine tenths of it to the whole. Not together with `window_calls`. Default: none.
    #[serde(with = "humantime_serde")]
    pub window: Option<Duration>,
    /// The rates are not looked at before the window holds this many calls; at least 1, at most `window_calls`. Default: 20,
    /// or `window_calls` where that is less.
    pub minimum_calls: Option<u32>,
    /// How long the circuit stays open before it probes; above 0. Default: 60 s.
    #[serde(with = "humantime_serde")]
    pub open_for: Duration,
    /// The factor by which `open_for` grows each time a probe fails, at least 1 (constant). Above 1 the grown time is jittered, 50 to
    /// 100 % of it and never below `open_for`, so that many clients do not probe together. A circuit that closes starts anew.
    /// Default: 1.
    pub open_growth: f64,
    /// What `open_for` grows to at most; at least `open_for` when `open_growth` is above 1. Default: 10 min.
    #[serde(with = "humantime_serde")]
    pub max_open_for: Duration,
    /// A server's Retry-After, in the answer that opens the circuit, lengthens the open time up to this; 0 never. Default: 5 min.
    #[serde(with = "humantime_serde")]
    pub max_retry_after: Duration,
    /// How many calls pass a half-open circuit, however many ask; at least 1. Default: 1.
    pub half_open_probes: u32,
    /// How many of the probes must succeed to close the circuit, 1 to `half_open_probes`. Default: all of them.
    pub success_threshold: Option<u32>,
    /// How long the probes may take together; a circuit that is half-open for this long opens again. Above 0,
    /// and above the attempt timeout, or the answers of slow but sound probes come too late and the circuit never closes. Default: `open_for`,
    /// or where attempts are cut off as long as all probes may take, if that is more. That is for
    /// [`with_attempt_timeout`](Self::with_attempt_timeout) to settle.
    #[serde(with = "humantime_serde")]
    pub half_open_for: Option<Duration>,
    /// A call that is dropped by its caller after this long in flight hung, and is a failure; one dropped earlier says nothing. In
    /// a stack see [`with_attempt_timeout`](Self::with_attempt_timeout). 0: dropped calls count only by their deadline. Default: `slow_call`, else 1 s.
    #[serde(with = "humantime_serde")]
    pub abandoned_after: Option<Duration>,
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            failure_rate: None,
            slow_call: None,
            slow_call_rate: None,
            window_calls: None,
            window: None,
            minimum_calls: None,
            open_for: Duration::from_secs(60),
            open_growth: 1.0,
            max_open_for: Duration::from_secs(600),
            max_retry_after: Duration::from_secs(300),
            half_open_probes: 1,
            success_threshold: None,
            half_open_for: None,
            abandoned_after: None,
        }
    }
}

const MAX_WINDOW_CALLS: u32 = 1_000_000;
const DEFAULT_WINDOW_CALLS: u32 = 100;
const DEFAULT_MINIMUM_CALLS: u32 = 20;
const DEFAULT_ABANDONED_AFTER: Duration = Duration::from_secs(1);
const MIN_WINDOW: Duration = Duration::from_millis(10);
/// An answer that comes just before the timeout is read a moment later, on a busy machine.
const TO_SETTLE: Duration = Duration::from_secs(1);

/// Over what the rates are taken, once the configuration's alternatives are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    None,
    Calls(u32),
    Time(Duration),
}

impl CircuitBreakerConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// Names the first field that is out of its range, the range, and what was found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |holds: bool, field: &str, wants: &str| {
            if holds { Ok(()) } else { Err(ConfigError::new(field, wants)) }
        };
        let rate = |rate: Option<f64>| rate.is_none_or(|rate| rate > 0.0 && rate <= 1.0);
        check(rate(self.failure_rate), "failure_rate", "must be above 0 and at most 1")?;
        check(rate(self.slow_call_rate), "slow_call_rate", "must be above 0 and at most 1")?;
        check(self.slow_call != Some(Duration::ZERO), "slow_call", "must be above 0")?;
        check(
            self.slow_call_rate.is_none() || self.slow_call.is_some(),
            "slow_call",
            "must be set when slow_call_rate is: from which duration on is a call slow?",
        )?;
        check(
            self.window.is_none() || self.window_calls.is_none(),
            "window",
            "must not be set together with window_calls: rates are taken over one of them",
        )?;
        check(
            self.window_calls.is_none_or(|calls| (1..=MAX_WINDOW_CALLS).contains(&calls)),
            "window_calls",
            "must be 1 to 1000000",
        )?;
        check(self.window.is_none_or(|window| window >= MIN_WINDOW), "window", "must be at least 10ms")?;
        check(self.minimum_calls != Some(0), "minimum_calls", "must be at least 1")?;
        if let (Window::Calls(calls), Some(minimum)) = (self.resolved_window(), self.minimum_calls) {
            check(
                minimum <= calls,
                "minimum_calls",
                "must be at most window_calls, else the rates are never looked at",
            )?;
        }
        check(!self.open_for.is_zero(), "open_for", "must be above 0")?;
        check(
            self.open_growth.is_finite() && self.open_growth >= 1.0,
            "open_growth",
            "must be a number of at least 1",
        )?;
        check(
            self.open_growth <= 1.0 || self.max_open_for >= self.open_for,
            "max_open_for",
            "must be at least open_for when open_growth is above 1",
        )?;
        check(self.half_open_probes >= 1, "half_open_probes", "must be at least 1")?;
        check(
            self.success_threshold.is_none_or(|needed| (1..=self.half_open_probes).contains(&needed)),
            "success_threshold",
            "must be 1 to half_open_probes, else the circuit could never close",
        )?;
        check(self.half_open_for != Some(Duration::ZERO), "half_open_for", "must be above 0")
    }

    /// The same, in a stack whose attempts are cut off after `timeout`: where neither `abandoned_after` nor `slow_call` is set, a
    /// call that is dropped after that long hung; where `half_open_for` is not set, it is `open_for` or as long as all probes may take one
    /// after the other and a second, whichever is more.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        let probes = timeout.saturating_mul(self.half_open_probes).saturating_add(TO_SETTLE);
        self.half_open_for = self.half_open_for.or(Some(self.open_for.max(probes)));
        if self.abandoned_after.is_none() && self.slow_call.is_none() {
            self.abandoned_after = Some(timeout);
        }
        self
    }

    pub(super) fn resolved_window(&self) -> Window {
        match (self.window, self.window_calls) {
            _ if self.failure_rate.is_none() && self.slow_call_rate.is_none() => Window::None,
            (Some(window), _) => Window::Time(window),
            (None, calls) => Window::Calls(calls.unwrap_or(DEFAULT_WINDOW_CALLS)),
        }
    }

    pub(super) fn resolved_minimum_calls(&self) -> u32 {
        self.minimum_calls.unwrap_or(match self.resolved_window() {
            Window::Calls(calls) => calls.min(DEFAULT_MINIMUM_CALLS),
            Window::Time(_) | Window::None => DEFAULT_MINIMUM_CALLS,
        })
    }

    /// `None` when dropped calls count by their deadline only.
    pub(super) fn resolved_abandoned_after(&self) -> Option<Duration> {
        let after = self.abandoned_after.or(self.slow_call).unwrap_or(DEFAULT_ABANDONED_AFTER);
        (!after.is_zero()).then_some(after)
    }
}
