use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// How long a whole call may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadlineConfig {
    /// From the call to the response's head, waits and backoff included. Above zero; 60 s by default.
    #[serde(with = "humantime_serde")]
    pub total: Duration,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self { total: Duration::from_secs(60) }
    }
}

impl DeadlineConfig {
    /// Checks each field's range.
    ///
    /// # Errors
    /// Names the field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.total.is_zero() {
            return Err(ConfigError::new("total", "must be above zero, or every call would be refused"));
        }
        Ok(())
    }
}
