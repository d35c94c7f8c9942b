//! When to renew: plain arithmetic.

use std::time::Duration;

use fastrand::Rng;

use super::CredentialsConfig;
use crate::{Exponential, Jitter};

/// How long after a fetch the credential should be renewed. `draw` is from 0 to 1.
pub(super) fn renew_after(lifetime: Duration, config: &CredentialsConfig, draw: f64) -> Duration {
    let before = config.renew_before.min(lifetime / 2);
    let latest = lifetime - before;
    let spread = config.jitter.min(latest / 2).mul_f64(draw.clamp(0.0, 1.0));
    latest - spread
}

/// How long to wait after `failures` failed renewals in a row, at least one.
pub(super) fn back_off(failures: u32, config: &CredentialsConfig, rng: &mut Rng) -> Duration {
    Exponential::new(config.backoff, config.max_backoff, Jitter::Equal).delay(failures.saturating_sub(1), None, rng)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_hour_is_renewed_five_minutes_before_its_end() {
        let config = CredentialsConfig::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(renew_after(hour, &config, 0.0), Duration::from_secs(3300));
        assert_eq!(renew_after(hour, &config, 1.0), Duration::from_secs(3270));
    }

    proptest! {
        #[test]
        fn is_always_before_the_end_and_never_in_the_first_quarter(millis in 1u64..10_000_000, draw in 0.0f64..=1.0) {
            let lifetime = Duration::from_millis(millis);
            let after = renew_after(lifetime, &CredentialsConfig::default(), draw);
            prop_assert!(after < lifetime && after >= lifetime / 4, "{after:?} of {lifetime:?}");
        }

        #[test]
        fn backoff_grows_to_its_cap_and_never_overflows(failures in 1u32.., seed: u64) {
            let config = CredentialsConfig::default();
            let wait = back_off(failures, &config, &mut Rng::with_seed(seed));
            prop_assert!(wait >= config.backoff / 2 && wait <= config.max_backoff);
        }
    }
}
