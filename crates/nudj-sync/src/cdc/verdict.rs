//! What follows a failure. Plain values only.

use std::time::Duration;

use super::config::CdcConfig;

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

/// `draw` is from 0 to 1. A wait that was asked for is never cut short.
pub(super) fn verdict(blame: Blame, tries: Tries, asked: Option<Duration>, draw: f64, config: &CdcConfig) -> Verdict {
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
    Verdict::RetryIn(
        backoff(tries.failures, draw, config).max(asked.unwrap_or_default().min(config.max_delay.max(LONGEST_ASKED))),
    )
}

/// A server that asks for a year is not obeyed.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

pub(super) fn backoff(failures: u32, draw: f64, config: &CdcConfig) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = config.base_delay.saturating_mul(1_u32 << doublings).min(config.max_delay);
    // Rounded, the longest of all would be longer than there is.
    Duration::try_from_secs_f64(full.as_secs_f64() * (0.5 + draw / 2.0).clamp(0.5, 1.0)).unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tries(unclear: u32, others_passed: bool, age: u64) -> Tries {
        Tries { failures: unclear, unclear, others_passed, age: Duration::from_secs(age) }
    }

    #[test]
    fn what_is_about_the_record_is_buried_and_what_is_about_nudj_is_waited_out() {
        let config = CdcConfig::default();
        let is_buried = |blame, tries| verdict(blame, tries, None, 0.5, &config) == Verdict::Bury;
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
        let wait = |asked| verdict(Blame::Nudj, tries(1, false, 0), Some(Duration::from_secs(asked)), 0.0, &config);
        assert_eq!(wait(5), Verdict::RetryIn(Duration::from_secs(5)));
        assert_eq!(wait(u64::MAX), Verdict::RetryIn(Duration::from_secs(60)));
    }

    #[test]
    fn longest_wait_of_all_can_be_had() {
        let config = CdcConfig { base_delay: Duration::MAX, max_delay: Duration::MAX, ..CdcConfig::default() };
        assert_eq!(backoff(1, 1.0, &config), Duration::MAX);
    }

    proptest! {
        #[test]
        fn backoff_stays_within_its_bounds(failures: u32, draw in 0.0..=1.0_f64, base in 1_u64..1000, more in 0_u64..100_000) {
            let config = CdcConfig {
                base_delay: Duration::from_millis(base),
                max_delay: Duration::from_millis(base + more),
                ..CdcConfig::default()
            };
            let wait = backoff(failures, draw, &config);
            prop_assert!(wait >= config.base_delay / 2 && wait <= config.max_delay);
        }
    }
}
