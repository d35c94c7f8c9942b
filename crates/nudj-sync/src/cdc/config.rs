use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Numbers of a [`Pipeline`](super::Pipeline).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdcConfig {
    /// How many records are worked on at once, 1 to 1000. The client's rate limit bounds the calls. Default 16.
    pub concurrency: usize,
    /// How many changes are held in memory at most, 1 to 1 000 000; a record that does not get through holds up the stream
    /// only when so many have passed it. After a crash as many creations at most are in doubt and looked up. Default 128.
    pub window: usize,
    /// How many changes are read at once, 1 to 10 000. Default 200.
    pub batch: usize,
    /// How long what is settled may wait for the next write of the position. Longer means fewer writes, and more that is done
    /// again after a crash. Default 100 ms.
    #[serde(with = "humantime_serde")]
    pub commit_every: Duration,
    /// How often the lag is measured, and dead letters that are to be replayed are looked for. More than 0. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// After so many failures that are about this record (403, 404, 500, an answer that cannot be read) it becomes a dead letter, if others
    /// succeeded meanwhile or `give_up_after` is over. Failures that are about Nudj as a whole are waited out. 1 or more.
    /// Default 8.
    pub max_attempts: u32,
    /// How long such a record is tried at least while no other succeeds. Default 15 min.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
    /// Of a hundred records of a table, how many are deleted at Nudj because a snapshot did not show them, as a share; one always
    /// is. Beyond it none is, and the stream stands still and the status says why: another database under the same state would else
    /// take everything along. Deletions that the source reports are not counted. More than 0, and 1 for no bound. Default 0.25.
    pub max_gone_share: f64,
    /// The first wait after a failure; doubled each time, 50 to 100 % of it. More than 0. Default 200 ms.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// The longest such wait, `base_delay` or more. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
}

impl Default for CdcConfig {
    fn default() -> Self {
        Self {
            concurrency: 16,
            window: 128,
            batch: 200,
            commit_every: Duration::from_millis(100),
            look_every: Duration::from_secs(1),
            max_attempts: 8,
            give_up_after: Duration::from_secs(15 * 60),
            max_gone_share: 0.25,
            base_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
        }
    }
}

impl CdcConfig {
    /// Whether all numbers are in their ranges.
    ///
    /// # Errors
    /// [`Error::Config`] names the field.
    pub fn validate(&self) -> Result<(), Error> {
        Error::first_wrong(&[
            ((1..=1000).contains(&self.concurrency), "cdc.concurrency", "must be 1 to 1000"),
            ((1..=1_000_000).contains(&self.window), "cdc.window", "must be 1 to 1000000"),
            ((1..=10_000).contains(&self.batch), "cdc.batch", "must be 1 to 10000"),
            (!self.look_every.is_zero(), "cdc.look_every", "must be more than 0"),
            (self.max_attempts >= 1, "cdc.max_attempts", "must be 1 or more"),
            (
                self.max_gone_share > 0.0 && self.max_gone_share <= 1.0,
                "cdc.max_gone_share",
                "must be more than 0 and at most 1",
            ),
            (!self.base_delay.is_zero(), "cdc.base_delay", "must be more than 0"),
            (self.max_delay >= self.base_delay, "cdc.max_delay", "must be base_delay or more"),
        ])
    }

    /// How many of so many records may be deleted in one go.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number that memory has room for"
    )]
    pub(super) fn most_gone(&self, of: u64) -> u64 {
        ((of as f64 * self.max_gone_share) as u64).max(1)
    }
}
