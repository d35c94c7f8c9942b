use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, backoff::backoff};

/// Every number of a [`UserSync`](super::UserSync).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestResponseConfig {
    /// How often a step at Nudj that failed for a while is tried again; the client's own retries are not counted. Default 3.
    pub max_retries: u32,
    /// The wait before the first repeat, and before the look-up after a lost answer; it doubles each time, and half of it is drawn at
    /// random. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// The longest such wait. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
}

impl Default for RequestResponseConfig {
    fn default() -> Self {
        Self { max_retries: 3, base_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) }
    }
}

impl RequestResponseConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// [`Error::Config`] with the field's name.
    pub fn validate(&self) -> Result<(), Error> {
        Error::first_wrong(&[(self.max_delay >= self.base_delay, "max_delay", "must be at least base_delay")])
    }

    /// The wait before repeat number `retry` (from 1), at least what was `asked` for, but for what is beyond `max_delay`.
    pub(super) fn backoff(&self, retry: u32, asked: Duration, rng: &mut Rng) -> Duration {
        backoff(self.base_delay, self.max_delay, retry, rng).max(asked.min(self.max_delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_counts_up_to_the_cap() {
        let config = RequestResponseConfig::default();
        assert!(config.validate().is_ok());
        let rng = &mut Rng::with_seed(0);
        assert_eq!(config.backoff(1, Duration::from_secs(9), rng), Duration::from_secs(9));
        assert_eq!(config.backoff(1, Duration::from_secs(9000), rng), Duration::from_secs(60));
        assert!(config.backoff(9, Duration::ZERO, rng) >= Duration::from_secs(30));
        assert!(RequestResponseConfig { max_delay: Duration::ZERO, ..config }.validate().is_err());
    }
}
