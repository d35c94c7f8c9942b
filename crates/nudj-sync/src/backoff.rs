//! How long to wait after a failure.

use std::time::Duration;

use fastrand::Rng;
use nudj_tower::{Exponential, Jitter};

/// The wait after `failures` failures in a row, at least one: half to all of `base * 2^(failures - 1)`, at most `max`.
pub(crate) fn backoff(base: Duration, max: Duration, failures: u32, rng: &mut Rng) -> Duration {
    Exponential::new(base, max, Jitter::Equal).delay(failures.saturating_sub(1), None, rng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_from_the_base_and_the_longest_of_all_can_be_had() {
        let second = Duration::from_secs(1);
        for seed in 0..1000 {
            let rng = &mut Rng::with_seed(seed);
            for (failures, most) in [(0, 1), (1, 1), (2, 2), (u32::MAX, 60)] {
                let (most, wait) = (second * most, backoff(second, 60 * second, failures, rng));
                assert!(most / 2 <= wait && wait <= most, "{wait:?} after {failures}");
            }
            assert!(backoff(Duration::MAX, Duration::MAX, 1, rng) > Duration::from_secs(86_400 * 365 * 290));
        }
    }
}
