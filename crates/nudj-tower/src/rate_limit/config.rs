use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// How many calls may pass in which time, and who may wait for how long.
///
/// ```
/// # use nudj_tower::rate_limit::RateLimitConfig;
/// let config: RateLimitConfig = toml::from_str(r#"
///     max_requests = 300
///     window = "1m"
///     max_wait = "5s"
/// "#)?;
/// assert!(config.validate().is_ok());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitConfig {
    /// How many calls may pass in any `window`; at least 1. Default: 100.
    pub max_requests: u32,
    /// The window's length, from 1 ms to 366 days. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How calls are counted. Default: `sliding_window`.
    pub algorithm: Algorithm,
    /// How long a call may wait for quota. A call that would wait longer is refused at once; 0 refuses whatever cannot pass
    /// now. One with a deadline waits for nine tenths of the time that is left at most. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// How many calls may wait, for each key; 0 as `max_wait = 0`. Default: 1024.
    pub max_queue: usize,
    /// The longest pause that a server's answer can cause: one hostile header must not stop a client. 0 ignores what servers
    /// ask for. Default: 60 s.
    #[serde(with = "humantime_serde")]
    pub max_retry_after: Duration,
    /// How many keys a keyed limiter keeps; at least 1. Keys beyond it share one quota until others fall idle. Default:
    /// 100 000. What a key takes stands on the [module's page](super#memory).
    pub max_keys: usize,
}

/// How calls are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Never more than `max_requests` in any window of that length, wherever it starts. Exact up to 1024 requests; above, counted in
    /// 64 granules, which is as strict but may let a call wait 1/63 of the window too long.
    #[default]
    SlidingWindow,
    /// The generic cell rate algorithm of the `governor` crate: a burst of `max_requests`, then one each
    /// `window / max_requests`. Smooth, and without memory for the calls, but a window that holds a burst holds up to twice `max_requests`.
    Gcra,
}

/// How many calls in which time: what [`set_quota`](super::RateLimitHandle::set_quota) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many calls.
    pub max_requests: u32,
    /// In any window of this length.
    pub window: Duration,
}

const MIN_WINDOW: Duration = Duration::from_millis(1);
const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            max_requests: 100,
            window: Duration::from_secs(1),
            algorithm: Algorithm::SlidingWindow,
            max_wait: Duration::from_secs(30),
            max_queue: 1024,
            max_retry_after: Duration::from_secs(60),
            max_keys: 100_000,
        }
    }
}

impl RateLimitConfig {
    /// Looks at every field.
    ///
    /// # Errors
    /// The first field that is out of its range, and the range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.quota().validate(self.algorithm)?;
        if self.max_keys == 0 {
            return Err(ConfigError::new("max_keys", "must be at least 1"));
        }
        Ok(())
    }

    pub(super) fn quota(&self) -> Quota {
        Quota { max_requests: self.max_requests, window: self.window }
    }
}

impl Quota {
    pub(super) fn validate(self, algorithm: Algorithm) -> Result<(), ConfigError> {
        let Self { max_requests, window } = self;
        if max_requests == 0 {
            return Err(ConfigError::new("max_requests", "must be at least 1; to stop all calls, pause the limiter"));
        }
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&window) {
            return Err(ConfigError::new("window", format!("must be from 1 ms to 366 days, is {window:?}")));
        }
        if algorithm == Algorithm::Gcra && window / max_requests == Duration::ZERO {
            return Err(ConfigError::new(
                "max_requests",
                "gcra counts in nanoseconds: must be fewer than the window has",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_design_and_survives_toml() {
        let config: RateLimitConfig = toml::from_str(
            "max_requests = 100\nwindow = \"1s\"\nalgorithm = \"sliding_window\"\nmax_wait = \"30s\"\nmax_queue = 1024",
        )
        .unwrap();
        assert_eq!(config, RateLimitConfig::default());
        assert_eq!(toml::from_str::<RateLimitConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(toml::from_str::<RateLimitConfig>("max_request = 1").is_err());
        assert_eq!(toml::from_str::<RateLimitConfig>("algorithm = \"gcra\"").unwrap().algorithm, Algorithm::Gcra);
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        type Change = fn(&mut RateLimitConfig);
        let changes: [(&str, Change); 5] = [
            ("max_requests", |c| c.max_requests = 0),
            ("window", |c| c.window = Duration::from_micros(999)),
            ("window", |c| c.window = Duration::MAX),
            ("max_requests", |c| (c.algorithm, c.window, c.max_requests) = (Algorithm::Gcra, MIN_WINDOW, 1_000_001)),
            ("max_keys", |c| c.max_keys = 0),
        ];
        for (field, change) in changes {
            let mut config = RateLimitConfig::default();
            change(&mut config);
            assert_eq!(config.validate().unwrap_err().field(), field);
        }
        assert!(RateLimitConfig::default().validate().is_ok());
    }
}
