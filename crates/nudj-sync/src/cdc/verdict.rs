//! What follows a failure. Plain values only.

use std::time::Duration;

use fastrand::Rng;

use super::config::CdcConfig;
use crate::backoff::backoff;

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// This record, for good.
    Record,
    /// Perhaps this record.
    Unclear,
    /// Nudj, the network or the credentials: every record would fail.
    Nudj,
}

/// How a record's attempts have gone so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    /// All failures, of any kind.
    pub(super) failures: u32,
    /// Those that were perhaps about the record.
    pub(super) unclear: u32,
    /// Whether another record got through since the first of these.
    pub(super) others_passed: bool,
    /// Since the first failure.
    pub(super) age: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    RetryIn(Duration),
    Bury,
}

/// A wait that was asked for is never cut short.
pub(super) fn verdict(
    blame: Blame,
    tries: Tries,
    asked: Option<Duration>,
    rng: &mut Rng,
    config: &CdcConfig,
) -> Verdict {
    let hopeless = match blame {
        Blame::Record => true,
        Blame::Unclear => {
            tries.unclear >= config.max_attempts && (tries.others_passed || tries.age >= config.give_up_after)
        }
        Blame::Nudj => false,
    };
    if hopeless {
        return Verdict::Bury;
    }
    let asked = asked.unwrap_or_default().min(config.max_delay.max(LONGEST_ASKED));
    Verdict::RetryIn(backoff(config.base_delay, config.max_delay, tries.failures, rng).max(asked))
}

/// A server that asks for a year is not obeyed.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(unclear: u32, others_passed: bool, age: u64) -> Tries {
        Tries { failures: unclear, unclear, others_passed, age: Duration::from_secs(age) }
    }

    #[test]
    fn what_is_about_the_record_is_buried_and_what_is_about_nudj_is_waited_out() {
        let config = CdcConfig::default();
        let is_buried = |blame, tries| verdict(blame, tries, None, &mut Rng::with_seed(0), &config) == Verdict::Bury;
        assert!(is_buried(Blame::Record, tries(1, false, 0)));
        assert!(!is_buried(Blame::Nudj, tries(1_000_000, true, 1_000_000)));
        assert!(!is_buried(Blame::Unclear, tries(7, true, 1_000_000)));
        assert!(is_buried(Blame::Unclear, tries(8, true, 0)));
        // All of Nudj may be down: nothing is given up for it at once.
        assert!(!is_buried(Blame::Unclear, tries(8, false, 60)));
        assert!(is_buried(Blame::Unclear, tries(8, false, 15 * 60)));
    }

    #[test]
    fn wait_that_was_asked_for_is_kept_within_reason() {
        let config = CdcConfig::default();
        let wait = |asked| {
            let asked = Some(Duration::from_secs(asked));
            verdict(Blame::Nudj, tries(1, false, 0), asked, &mut Rng::with_seed(0), &config)
        };
        assert_eq!(wait(5), Verdict::RetryIn(Duration::from_secs(5)));
        assert_eq!(wait(u64::MAX), Verdict::RetryIn(Duration::from_secs(60)));
    }
}
