use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How long an attempt and a call may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutConfig {
    /// The longest one attempt may take, body included. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub attempt: Duration,
    /// The longest a whole call may take, waits and backoff included. Default 60 s; not 0.
    #[serde(with = "humantime_serde")]
    pub total: Duration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(10), total: Duration::from_secs(60) }
    }
}

impl TimeoutConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        for (field, value) in [("timeout.attempt", self.attempt), ("timeout.total", self.total)] {
            if value.is_zero() {
                return Err(Error::config(field, "must be longer than 0"));
            }
        }
        Ok(())
    }
}
