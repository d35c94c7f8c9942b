//! [`MemoryConfig`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::event::AfterDeadLetter;

/// The limits of a [`MemoryBus`](super::MemoryBus).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Events on the bus, dead letters included; 1 to 10 000 000. Default 10 000. Follow-ups need no room: they take the place of the
    /// event they follow from, and where there are several of them, publishers wait for longer.
    pub capacity: usize,
    /// How long publishing waits for room before it fails with [`Error::BusFull`]; at most 1 h. Default 30 s, 0 does not wait.
    #[serde(with = "humantime_serde")]
    pub publish_timeout: Duration,
    /// How many ids of handled events are remembered, so that publishing one of them again has no effect. Default 65 536.
    pub remembered: usize,
    /// What a dead letter does to the later events of its key.
    pub after_dead_letter: AfterDeadLetter,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            publish_timeout: Duration::from_secs(30),
            remembered: 65_536,
            after_dead_letter: AfterDeadLetter::default(),
        }
    }
}

impl MemoryConfig {
    /// # Errors
    /// [`Error::Config`], naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        Error::first_wrong(&[
            ((1..=10_000_000).contains(&self.capacity), "capacity", "must be 1 to 10000000"),
            (self.publish_timeout <= Duration::from_secs(3600), "publish_timeout", "must be at most 1h"),
        ])
    }
}
