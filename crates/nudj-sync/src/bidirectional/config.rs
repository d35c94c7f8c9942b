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
    /// Of a hundred records that are there, how many `sync_known` deletes because the other side has them no more, as a share; one is
    /// always deleted. Tombstones and records whose sync fails are not counted. Beyond it, it deletes none of them and ends with [`Error::TooManyGone`]: a token of another organisation, or an
    /// empty database, would else take everything along. More than 0, and 1 for no bound. Default 0.25.
    pub max_gone_share: f64,
}

impl Default for BidirectionalConfig {
    fn default() -> Self {
        Self { clock_skew: Duration::from_secs(2), max_rounds: 5, max_gone_share: 0.25 }
    }
}

impl BidirectionalConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// [`Error::Config`] with the field's name.
    pub fn validate(&self) -> Result<(), Error> {
        let is_share = self.max_gone_share > 0.0 && self.max_gone_share <= 1.0;
        Error::first_wrong(&[
            (self.max_rounds >= 1, "max_rounds", "must be at least 1"),
            (is_share, "max_gone_share", "must be more than 0 and at most 1"),
        ])
    }

    /// How many of so many records may be deleted in one go.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a page")]
    pub(super) fn most_gone(&self, of: usize) -> usize {
        ((of as f64 * self.max_gone_share) as usize).max(1)
    }
}
