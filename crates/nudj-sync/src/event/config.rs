//! [`ConsumerConfig`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A claim may well take so long, and its event must still be ours for as long as a handler may take.
const CLAIM: Duration = Duration::from_millis(250);

/// How events are handled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerConfig {
    /// Events handled at the same time, each of another key; 1 to 10 000. Default 16.
    pub workers: usize,
    /// The longest that the handlers of one event may take together; then the attempt has failed. At least 1 ms. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub handler_timeout: Duration,
    /// How long an event is ours. When the process dies, its events are given out again after this time. Longer than
    /// `handler_timeout` by 250 ms at least, so that no handler works on an event that is no longer ours: a claim that took longer than what is
    /// between them is given back, and no handler called. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often to look where nobody tells of new events, as in a database that others write to; 1 ms to 1 h. Default 250 ms.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// Attempts before an event becomes a dead letter, at least 1. Those that shutdowns cut off count as one together (on JetStream each).
    /// What a crash or a shutdown cut off at its first attempt is called once more also where this is 1, and so is a dead letter that
    /// is replayed. Default 20: with the delays below, over an hour.
    pub max_attempts: u32,
    /// The pause after the first failed attempt; doubled after each further one, and shortened by up to half at random. At least 1 ms.
    /// Default 1 s.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// No pause is longer; at least `base_delay`, at most 1 d. Default 5 min.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            workers: 16,
            handler_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(60),
            poll_interval: Duration::from_millis(250),
            max_attempts: 20,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(300),
        }
    }
}

impl ConsumerConfig {
    /// # Errors
    /// [`Error::Config`], naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        let (ms, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
        let day = hour * 24;
        Error::first_wrong(&[
            ((1..=10_000).contains(&self.workers), "workers", "must be 1 to 10000"),
            ((ms..=day).contains(&self.handler_timeout), "handler_timeout", "must be 1ms to 1d"),
            (
                self.lease >= self.handler_timeout.saturating_add(CLAIM) && self.lease <= 2 * day,
                "lease",
                "must be at least 250ms longer than handler_timeout, and at most 2d",
            ),
            ((ms..=hour).contains(&self.poll_interval), "poll_interval", "must be 1ms to 1h"),
            (self.max_attempts >= 1, "max_attempts", "must be at least 1"),
            (self.base_delay >= ms, "base_delay", "must be at least 1ms"),
            ((self.base_delay..=day).contains(&self.max_delay), "max_delay", "must be base_delay to 1d"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid_and_survives_being_written() {
        let config = ConsumerConfig::default();
        config.validate().unwrap();
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ConsumerConfig>(&written).unwrap(), config);
        assert!(serde_json::from_str::<ConsumerConfig>(r#"{"worker": 3}"#).is_err());
    }

    #[test]
    fn value_out_of_range_is_refused_by_name() {
        for (text, named) in [
            (r#"{"workers": 0}"#, "workers"),
            (r#"{"handler_timeout": "0s"}"#, "handler_timeout"),
            (r#"{"lease": "30s"}"#, "lease"),
            (r#"{"lease": "30s 249ms"}"#, "lease"),
            (r#"{"poll_interval": "0s"}"#, "poll_interval"),
            (r#"{"max_attempts": 0}"#, "max_attempts"),
            (r#"{"base_delay": "0s"}"#, "base_delay"),
            (r#"{"max_delay": "1ms"}"#, "max_delay"),
        ] {
            let config: ConsumerConfig = serde_json::from_str(text).unwrap();
            assert!(matches!(config.validate(), Err(Error::Config { field, .. }) if field == named), "{text}");
        }
    }
}
