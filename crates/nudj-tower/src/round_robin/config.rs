use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// How calls are spread. The defaults suit endpoints that have a breaker each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoundRobinConfig {
    /// Takes out endpoints that fail more than they should. None by default: a breaker per endpoint does that already, and puts it
    /// back by a probe instead of by the clock. Turn it on where endpoints have no breaker.
    pub outlier: Option<OutlierConfig>,
}

/// When an endpoint is taken out of the ring, for how long, and how many may be out at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierConfig {
    /// So many failures in a row take an endpoint out; 0 turns the rule off. 5 by default.
    pub consecutive_failures: u32,
    /// This share of failures among the calls of a window takes an endpoint out: above 0, up to 1; none turns the rule off. 0.5 by
    /// default.
    pub failure_rate: Option<f64>,
    /// So many calls must have ended in the window before the rate says anything; at least 1. 20 by default.
    pub minimum_calls: u32,
    /// How long the rate looks back; a window opens with a failure. Above zero; 30 s by default.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How long an endpoint stays out the first time; the second time in a row twice as long, and so on. So much healthy time makes
    /// up for one time out. Times are counted up to the longest only. Above zero; 30 s by default.
    #[serde(with = "humantime_serde")]
    pub base_ejection: Duration,
    /// The longest time out, at least `base_ejection`. 5 min by default.
    #[serde(with = "humantime_serde")]
    pub max_ejection: Duration,
    /// The share of endpoints that may be out at a time, 0 to 1: one always may, the last never. 0.5 by default.
    pub max_ejected_share: f64,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: Some(0.5),
            minimum_calls: 20,
            window: Duration::from_secs(30),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected_share: 0.5,
        }
    }
}

impl RoundRobinConfig {
    /// Checks each field's range.
    ///
    /// # Errors
    /// Names the field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.outlier.as_ref().map_or(Ok(()), |outlier| outlier.validate().map_err(|error| error.within("outlier")))
    }
}

impl OutlierConfig {
    /// Checks each field's range.
    ///
    /// # Errors
    /// Names the field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |good: bool, field: &str, problem: &str| match good {
            true => Ok(()),
            false => Err(ConfigError::new(field, problem)),
        };
        check(
            self.failure_rate.is_none_or(|rate| rate > 0.0 && rate <= 1.0),
            "failure_rate",
            "must be above 0 and at most 1",
        )?;
        check(self.minimum_calls > 0, "minimum_calls", "must be at least 1")?;
        check(!self.window.is_zero(), "window", "must be above zero")?;
        check(!self.base_ejection.is_zero(), "base_ejection", "must be above zero")?;
        check(self.max_ejection >= self.base_ejection, "max_ejection", "must be at least base_ejection")?;
        check((0.0..=1.0).contains(&self.max_ejected_share), "max_ejected_share", "must be from 0 to 1")
    }
}
