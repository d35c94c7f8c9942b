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
    /// How long it is left alone; then one operation tries again. Default 1 s.
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
    pub(crate) fn validate(&self, ttl: &'static str, timeout: &'static str) -> Result<(), CacheError> {
        if self.ttl.is_zero() {
            return Err(CacheError::config(ttl, "must be above 0"));
        }
        if self.timeout.is_zero() {
            return Err(CacheError::config(timeout, "must be above 0"));
        }
        Ok(())
    }
}
