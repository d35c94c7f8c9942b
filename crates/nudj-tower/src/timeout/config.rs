use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// How long one attempt may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttemptTimeoutConfig {
    /// From the first wait for the answer to its head, or to its body's end. Above zero; 10 s by default.
    #[serde(with = "humantime_serde")]
    pub attempt: Duration,
}

impl Default for AttemptTimeoutConfig {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(10) }
    }
}

impl AttemptTimeoutConfig {
    /// Checks each field's range.
    ///
    /// # Errors
    /// Names the field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.attempt.is_zero() {
            return Err(ConfigError::new("attempt", "must be above zero, or every attempt would be cut"));
        }
        Ok(())
    }
}
