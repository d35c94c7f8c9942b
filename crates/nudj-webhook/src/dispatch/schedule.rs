//! When a failed delivery is tried again.

use std::time::Duration;

use crate::RetryConfig;

/// The pause after the `failed`-th attempt (from 1): between half and all of `base_delay * 2^(failed - 1)`, at most
/// `max_delay`; `draw` in `0.0..1.0` says where. `None` when that was the last attempt.
pub(super) fn pause(config: &RetryConfig, failed: u32, draw: f64) -> Option<Duration> {
    if failed >= config.max_attempts {
        return None;
    }
    let doublings = 2_u32.checked_pow(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = config.base_delay.saturating_mul(doublings).min(config.max_delay);
    let half = whole / 2;
    Some(half + half.mul_f64(draw.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_end() {
        let config =
            RetryConfig { max_attempts: 5, base_delay: Duration::from_secs(1), max_delay: Duration::from_secs(3) };
        let seconds = |failed, draw| pause(&config, failed, draw).map(|pause| pause.as_secs_f64());
        assert_eq!([1, 2, 3, 4].map(|failed| seconds(failed, 1.0)), [Some(1.0), Some(2.0), Some(3.0), Some(3.0)]);
        assert_eq!([1, 2, 3, 4].map(|failed| seconds(failed, 0.0)), [Some(0.5), Some(1.0), Some(1.5), Some(1.5)]);
        assert_eq!(seconds(5, 0.5), None);
    }

    proptest! {
        #[test]
        fn no_pause_overflows_or_passes_the_cap(failed: u32, base in 1..u64::MAX, cap in 1..u64::MAX, draw in 0.0..1.0_f64) {
            let config = RetryConfig {
                max_attempts: u32::MAX,
                base_delay: Duration::from_millis(base),
                max_delay: Duration::from_millis(cap),
            };
            if let Some(pause) = pause(&config, failed, draw) {
                prop_assert!(pause <= config.max_delay);
            }
        }
    }
}
