//! When a failed event is tried again.

use std::time::Duration;

use super::ConsumerConfig;

/// The attempts that count of a dead letter that is replayed: one that had a second comes again as a repeat, for an earlier one may have had
/// its effect. One that was given up at its first has had all its attempts taken: where only one is allowed, it gets another.
pub(super) fn replayed(attempts: u32) -> u32 {
    u32::from(attempts > 1)
}

/// The pause after the `failed`-th attempt (from 1): half to all of `base_delay * 2^(failed - 1)`, at most `max_delay`; `draw` in
/// `0.0..1.0` says where. `None` when that was the last attempt.
pub(super) fn pause(config: &ConsumerConfig, failed: u32, draw: f64) -> Option<Duration> {
    if failed >= config.max_attempts {
        return None;
    }
    let factor = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    let most = config.base_delay.saturating_mul(factor).min(config.max_delay);
    let least = most / 2;
    Some(least + least.mul_f64(draw.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_end() {
        let config = ConsumerConfig { max_attempts: 5, max_delay: Duration::from_secs(3), ..ConsumerConfig::default() };
        let seconds = |draw| [1, 2, 3, 4].map(|failed| pause(&config, failed, draw).unwrap().as_secs_f64());
        assert_eq!(seconds(1.0), [1.0, 2.0, 3.0, 3.0]);
        assert_eq!(seconds(0.0), [0.5, 1.0, 1.5, 1.5]);
        assert_eq!(pause(&config, 5, 0.5), None);
    }

    proptest! {
        #[test]
        fn no_pause_overflows_or_passes_the_cap(failed: u32, base in 1..u64::MAX, cap in 1..u64::MAX, draw in 0.0..1.0_f64) {
            let config = ConsumerConfig {
                max_attempts: u32::MAX,
                base_delay: Duration::from_millis(base),
                max_delay: Duration::from_millis(cap),
                ..ConsumerConfig::default()
            };
            if let Some(pause) = pause(&config, failed, draw) {
                prop_assert!(pause <= config.max_delay);
            }
        }
    }
}
