//! [`OutboxConfig`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::event::AfterDeadLetter;

const DEFAULT_QUEUE: &str = "nudj";

/// An outbox's settings; all that work on one queue must have the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxConfig {
    /// Which of the table's queues this is, 1 to 64 of A-Z a-z 0-9 . - _; default `nudj`.
    pub queue: String,
    /// How long the id of a handled event is remembered, so that publishing it again has no effect; 1 s to 365 d. Default 7 d.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// What a dead letter does to the later events of its key.
    pub after_dead_letter: AfterDeadLetter,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            queue: DEFAULT_QUEUE.to_owned(),
            retention: Duration::from_secs(7 * 24 * 3600),
            after_dead_letter: AfterDeadLetter::default(),
        }
    }
}

impl OutboxConfig {
    /// # Errors
    /// [`Error::Config`], naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        let is_name = (1..=64).contains(&self.queue.len())
            && self.queue.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        Error::first_wrong(&[
            (is_name, "queue", "must be 1 to 64 of A-Z a-z 0-9 . - _"),
            ((second..=365 * day).contains(&self.retention), "retention", "must be 1s to 365d"),
        ])
    }

    /// What the queue is called in its consumers' notes. The default one has no name there: its notes had none before there were names.
    pub(super) fn note_name(&self) -> &str {
        if self.queue == DEFAULT_QUEUE { "" } else { &self.queue }
    }

    /// Rows of this state and below come before later rows of their key: 0 is waiting, 1 dead, 2 done.
    pub(super) fn blocking_state(&self) -> i64 {
        match self.after_dead_letter {
            AfterDeadLetter::Hold => 1,
            AfterDeadLetter::Pass => 0,
        }
    }
}
