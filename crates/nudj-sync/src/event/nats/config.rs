//! [`NatsConfig`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::event::AfterDeadLetter;

/// A JetStream bus's settings; all that work on one bus must have the same. Where a stream is there already, `ack_wait` and `duplicate_window`
/// become those of whoever starts last, and `partitions` and `replicas` must be what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// The stream's name, and the first part of its subjects: 1 to 64 of A-Z a-z 0-9 - _; default `nudj`.
    pub name: String,
    /// How many events may be out at the same time, over all processes; 1 to 256, the same for the life of the stream. Default 16.
    pub partitions: u16,
    /// After how long the server gives an event out again that nobody settled; longer than any lease, 10 ms to 2 d. Default 75 s.
    #[serde(with = "humantime_serde")]
    pub ack_wait: Duration,
    /// How long the server remembers the id of a published event, so that publishing it again has no effect; 100 ms to 7 d, and longer than
    /// `ack_wait`: what follows from an event is published again after a crash, and must not be twice. It keeps them in memory. Default
    /// 10 min.
    #[serde(with = "humantime_serde")]
    pub duplicate_window: Duration,
    /// Events on the bus, dead letters included; beyond them publishing fails with [`Error::BusFull`]. At least 1. Default 1 000 000.
    /// Publishers at the same time may together go a little beyond it. Follow-ups and replayed dead letters need no room, so that a full
    /// bus becomes empty again.
    pub max_events: u32,
    /// How many servers keep each event, 1 to 5. Default 1.
    pub replicas: u8,
    /// What a dead letter does to the later events of its key.
    pub after_dead_letter: AfterDeadLetter,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            name: "nudj".to_owned(),
            partitions: 16,
            ack_wait: Duration::from_secs(75),
            duplicate_window: Duration::from_secs(600),
            max_events: 1_000_000,
            replicas: 1,
            after_dead_letter: AfterDeadLetter::default(),
        }
    }
}

impl NatsConfig {
    /// # Errors
    /// [`Error::Config`], naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        let day = Duration::from_secs(24 * 3600);
        let ms = Duration::from_millis(1);
        let is_name = (1..=64).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        Error::first_wrong(&[
            (is_name, "name", "must be 1 to 64 of A-Z a-z 0-9 - _"),
            ((1..=256).contains(&self.partitions), "partitions", "must be 1 to 256"),
            ((ms * 10..=2 * day).contains(&self.ack_wait), "ack_wait", "must be 10ms to 2d"),
            ((ms * 100..=7 * day).contains(&self.duplicate_window), "duplicate_window", "must be 100ms to 7d"),
            (self.ack_wait < self.duplicate_window, "duplicate_window", "must be longer than ack_wait"),
            (self.max_events >= 1, "max_events", "must be at least 1"),
            ((1..=5).contains(&self.replicas), "replicas", "must be 1 to 5"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_out_of_range_is_refused_by_name() {
        NatsConfig::default().validate().unwrap();
        for (text, named) in [
            (r#"{"name": "a.b"}"#, "name"),
            (r#"{"partitions": 0}"#, "partitions"),
            (r#"{"ack_wait": "0s"}"#, "ack_wait"),
            (r#"{"duplicate_window": "0s"}"#, "duplicate_window"),
            (r#"{"duplicate_window": "75s"}"#, "duplicate_window"),
            (r#"{"max_events": 0}"#, "max_events"),
            (r#"{"replicas": 6}"#, "replicas"),
        ] {
            let config: NatsConfig = serde_json::from_str(text).unwrap();
            assert!(matches!(config.validate(), Err(Error::Config { field, .. }) if field == named), "{text}");
        }
    }
}
