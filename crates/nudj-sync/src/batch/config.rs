use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Every number of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Records per bulk call, and settled records between two checkpoints: 1 to 1000. Default 100 (the seed's).
    pub chunk_size: usize,
    /// How many chunks may be under way at once, 1 to 1000: with `chunk_size`, how many records are in memory, and two chunks less than
    /// what may be in doubt after a crash. Default 8.
    pub chunks_in_flight: usize,
    /// Calls at once, 1 to 10 000: at least quota per second times latency, or the quota is not used up. Default 64.
    pub calls_in_flight: usize,
    /// How often a record that failed for a while is tried again; the client's own retries are not counted. 0 means never.
    /// Default 3.
    pub max_retries: u32,
    /// The wait before the first repeat; it doubles each time, and half of it is drawn at random. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// The longest such wait. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// How long one record may be kept waiting by a rate limit, ours or the server's; such waits are no retries. Default 10 min.
    #[serde(with = "humantime_serde")]
    pub throttled_for: Duration,
    /// So many records in a row given up for a failure that passes end the run: the API is down. They are kept in memory, so no more
    /// of them are waited for than may be there: `chunk_size` times `chunks_in_flight` end the run whatever stands here, and where
    /// that is 1, the first does. 0 turns this off. Default 100.
    pub stop_after_failures: u32,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            chunk_size: 100,
            chunks_in_flight: 8,
            calls_in_flight: 64,
            max_retries: 3,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            throttled_for: Duration::from_secs(600),
            stop_after_failures: 100,
        }
    }
}

impl BatchConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// [`Error::Config`] with the field's name.
    pub fn validate(&self) -> Result<(), Error> {
        Error::first_wrong(&[
            ((1..=1000).contains(&self.chunk_size), "chunk_size", "must be 1 to 1000"),
            ((1..=1000).contains(&self.chunks_in_flight), "chunks_in_flight", "must be 1 to 1000"),
            ((1..=10_000).contains(&self.calls_in_flight), "calls_in_flight", "must be 1 to 10000"),
            (self.max_delay >= self.base_delay, "max_delay", "must be at least base_delay"),
        ])
    }

    /// Records that may be open at once.
    pub(super) fn window(&self) -> u64 {
        (self.chunk_size as u64).saturating_mul(self.chunks_in_flight as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_wrong_field_is_named() {
        assert!(BatchConfig::default().validate().is_ok());
        type Spoil = fn(&mut BatchConfig);
        let cases: [(Spoil, &str); 4] = [
            (|config| config.chunk_size = 0, "chunk_size"),
            (|config| config.chunks_in_flight = 0, "chunks_in_flight"),
            (|config| config.calls_in_flight = 0, "calls_in_flight"),
            (|config| config.max_delay = Duration::ZERO, "max_delay"),
        ];
        for (spoil, field) in cases {
            let mut config = BatchConfig::default();
            spoil(&mut config);
            assert!(config.validate().unwrap_err().to_string().contains(field));
        }
    }
}
