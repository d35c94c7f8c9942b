//! How a level outside this process is treated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::CacheError;

/// How a level outside this process is treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LevelConfig {
    /// Longest time an entry is kept there. Default 3600 s for L2 and 86400 s for L3 (the seed's).
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// Longest time one operation may take. Default 50 ms. A slower one is a miss.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Failures in a row after which the level is left alone. Default 5, at least 1.
    pub failure_threshold: u32,
    /// How long it is left alone; then one operation tries again. Above 0, default 1 s.
    #[serde(with = "humantime_serde")]
    pub open_for: Duration,
}

impl Default for LevelConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            timeout: Duration::from_millis(50),
            failure_threshold: 5,
            open_for: Duration::from_secs(1),
        }
    }
}

impl LevelConfig {
    /// `names`: what the fields are called, in their order.
    pub(crate) fn validate(&self, names: [&'static str; 4]) -> Result<(), CacheError> {
        let zero = [self.ttl.is_zero(), self.timeout.is_zero(), self.failure_threshold == 0, self.open_for.is_zero()];
        match names.into_iter().zip(zero).find(|(_, zero)| *zero) {
            Some((name, _)) => Err(CacheError::config(name, "must be above 0")),
            None => Ok(()),
        }
    }
}
