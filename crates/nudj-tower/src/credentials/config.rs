use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// When credentials are renewed, and how long that may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialsConfig {
    /// How long before its expiry a credential is renewed. Default 5 minutes (seed). A credential that lives shorter than twice
    /// this is renewed at half of its life.
    #[serde(with = "humantime_serde")]
    pub renew_before: Duration,
    /// By how much that moment is spread towards the earlier, so that a fleet does not renew at once. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub jitter: Duration,
    /// The longest one fetch may take. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub fetch_timeout: Duration,
    /// The wait after the first failed renewal, or after one that a refusal led to; it doubles, with jitter, up to `max_backoff`. Calls
    /// that need a credential meanwhile get the last error, refused ones their 401. Default 1 s; not 0.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
    /// The longest wait between failed renewals. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
}

impl Default for CredentialsConfig {
    fn default() -> Self {
        Self {
            renew_before: Duration::from_secs(300),
            jitter: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
        }
    }
}

impl CredentialsConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [("fetch_timeout", self.fetch_timeout), ("backoff", self.backoff)] {
            if value.is_zero() {
                return Err(ConfigError::new(field, "must be longer than 0"));
            }
        }
        if self.max_backoff < self.backoff {
            return Err(ConfigError::new("max_backoff", "must not be shorter than backoff"));
        }
        Ok(())
    }
}
