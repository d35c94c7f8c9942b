//! When a failed event is tried again.

use std::time::Duration;

use fastrand::Rng;

use super::ConsumerConfig;
use crate::backoff::backoff;

/// The attempts that count of a dead letter that is replayed: it comes again as a repeat, for an earlier attempt may have had its effect.
pub(super) fn replayed(attempts: u32) -> u32 {
    attempts.min(1)
}

/// Whether no handler is called for this attempt (from 1): so many before it ended with their process. A second is made however few are
/// allowed, since a replay is one, and so is what comes after a shutdown.
pub(super) fn is_one_too_many(config: &ConsumerConfig, attempt: u32) -> bool {
    attempt > config.max_attempts.max(2)
}

/// The pause after the `failed`-th attempt (from 1); `None` when that was the last.
pub(super) fn pause(config: &ConsumerConfig, failed: u32, rng: &mut Rng) -> Option<Duration> {
    (failed < config.max_attempts).then(|| backoff(config.base_delay, config.max_delay, failed, rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_end() {
        let config = ConsumerConfig { max_attempts: 5, max_delay: Duration::from_secs(3), ..ConsumerConfig::default() };
        for seed in 0..1000 {
            let rng = &mut Rng::with_seed(seed);
            for (failed, most) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
                let most = Duration::from_secs(most);
                let pause = pause(&config, failed, rng).unwrap_or_default();
                assert!(most / 2 <= pause && pause <= most, "{pause:?} after {failed}");
            }
            assert_eq!(pause(&config, 5, rng), None);
        }
    }
}
