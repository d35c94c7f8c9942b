//! What a collector took notice of and did not keep.

use std::time::Duration;

use tokio::time::Instant;

use super::message::PartialSuccess;

/// It may be so with each export of many a second; the log has it no more often than this.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// So much of the collector's own words goes to the log.
const MOST_WORDS: usize = 200;

/// What was rejected since it was last said.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    untold: u64,
    said: Option<Instant>,
}

impl Rejected {
    /// Notes that of an export of `count` the collector did not take some. Returns how many.
    pub(super) fn note(&mut self, answer: &PartialSuccess, count: usize, what: &'static str) -> usize {
        let rejected = usize::try_from(answer.rejected).unwrap_or_default().min(count);
        if let Some(lost) = self.due(rejected as u64, Instant::now()) {
            let words: String = answer.message.chars().take(MOST_WORDS).collect();
            tracing::warn!(lost, collector = ?words, "the collector rejected some of the {what} that it was sent");
        }
        rejected
    }

    /// All that were not told yet, if there are any and it is time.
    fn due(&mut self, rejected: u64, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(rejected);
        let is_time = self.said.is_none_or(|said| now.saturating_duration_since(said) >= SAID_EVERY);
        (self.untold > 0 && is_time).then(|| {
            self.said = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_once_a_minute() {
        let (mut rejected, start) = (Rejected::default(), Instant::now());
        let mut say = |count, seconds| rejected.due(count, start + Duration::from_secs(seconds));
        assert_eq!(say(0, 0), None);
        assert_eq!(say(3, 1), Some(3));
        assert_eq!((say(4, 2), say(5, 60)), (None, None));
        assert_eq!((say(0, 61), say(0, 200)), (Some(9), None));
    }

    #[test]
    fn no_more_are_lost_than_were_sent() {
        let answer = |rejected| PartialSuccess { rejected, message: String::new() };
        let count = |rejected| Rejected::default().note(&answer(rejected), 10, "spans");
        assert_eq!([-1, 0, 3, 11, i64::MAX].map(count), [0, 0, 3, 10, 10]);
    }
}
