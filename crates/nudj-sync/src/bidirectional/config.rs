use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Every number of a [`Bidirectional`](super::Bidirectional).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BidirectionalConfig {
    /// Edits whose times are no further apart than this count as made at once. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub clock_skew: Duration,
    /// How often a sync begins anew when a side changed while it was at work; at least 1. Default 5.
    pub max_rounds: u32,
}

impl Default for BidirectionalConfig {
    fn default() -> Self {
        Self { clock_skew: Duration::from_secs(2), max_rounds: 5 }
    }
}

impl BidirectionalConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// [`Error::Config`] with the field's name.
    pub fn validate(&self) -> Result<(), Error> {
        if self.max_rounds == 0 {
            return Err(Error::config("max_rounds", "must be at least 1"));
        }
        Ok(())
    }
}
