//! How long to wait after a failure. Plain arithmetic; the randomness is an argument.

use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// How a backoff is spread, so that clients that failed together do not come back together.
///
/// `d` is `base * 2^n`, at most `max`; `n` counts the repeats before this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Exactly `d`.
    None,
    /// From `d / 2` to `d`: half is sure, half is spread.
    #[default]
    Equal,
    /// From 0 to `d`: the widest spread; a wait may be next to nothing.
    Full,
    /// From `base` to three times the wait before, at most `max`.
    Decorrelated,
}

/// An exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential {
    base: u64,
    max: u64,
    jitter: Jitter,
}

impl Exponential {
    /// Starts at `base`, doubles up to `max`, spread by `jitter`. Times beyond 584 years are cut there.
    #[must_use]
    pub fn new(base: Duration, max: Duration, jitter: Jitter) -> Self {
        Self { base: nanos(base), max: nanos(max), jitter }
    }

    /// The wait before the repeat that `repeats` others came before; `last` is the wait before this one, if there was any.
    #[must_use]
    pub fn delay(&self, repeats: u32, last: Option<Duration>, rng: &mut Rng) -> Duration {
        let full = self.base.saturating_mul(1u64.checked_shl(repeats).unwrap_or(u64::MAX)).min(self.max);
        Duration::from_nanos(match self.jitter {
            Jitter::None => full,
            Jitter::Equal => rng.u64(full - full / 2..=full),
            Jitter::Full => rng.u64(0..=full),
            Jitter::Decorrelated => {
                let last = last.map_or(self.base, nanos).max(self.base);
                rng.u64(self.base..=last.saturating_mul(3)).min(self.max)
            }
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    fn jitters() -> impl Strategy<Value = Jitter> {
        prop_oneof![Just(Jitter::None), Just(Jitter::Equal), Just(Jitter::Full), Just(Jitter::Decorrelated)]
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            any::<Duration>(),
            (0u64..100_000_000_000).prop_map(Duration::from_nanos),
            Just(Duration::ZERO),
            Just(Duration::MAX)
        ]
    }

    #[test]
    fn without_jitter_it_doubles_up_to_the_cap() {
        let schedule = Exponential::new(Duration::from_secs(1), Duration::from_secs(60), Jitter::None);
        let seen: Vec<u64> = (0..8).map(|n| schedule.delay(n, None, &mut Rng::with_seed(0)).as_secs()).collect();
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn stays_in_its_bounds_and_never_overflows(
            jitter in jitters(), base in durations(), max in durations(), repeats in any::<u32>(),
            last in proptest::option::of(durations()), seed in any::<u64>(),
        ) {
            let delay = Exponential::new(base, max, jitter).delay(repeats, last, &mut Rng::with_seed(seed));
            let limit = Duration::from_nanos(u64::MAX);
            let exact = base.checked_mul(1u32.checked_shl(repeats).unwrap_or(u32::MAX)).unwrap_or(limit).min(max).min(limit);
            prop_assert!(delay <= max);
            match jitter {
                Jitter::None if repeats < 32 => prop_assert_eq!(delay, exact),
                Jitter::Equal if repeats < 32 => prop_assert!(exact / 2 <= delay && delay <= exact, "{delay:?} of {exact:?}"),
                Jitter::Full if repeats < 32 => prop_assert!(delay <= exact),
                Jitter::Decorrelated => {
                    let from = last.unwrap_or(base).max(base);
                    prop_assert!(delay >= base.min(max).min(limit));
                    prop_assert!(delay <= from.checked_mul(3).unwrap_or(limit));
                }
                _ => {}
            }
        }

        #[test]
        fn equal_seeds_draw_alike_and_others_do_not(seed in any::<u64>()) {
            let schedule = Exponential::new(Duration::from_secs(1), Duration::from_secs(60), Jitter::Full);
            let draw = |seed| {
                let mut rng = Rng::with_seed(seed);
                (0..4).map(|n| schedule.delay(n, None, &mut rng)).collect::<Vec<_>>()
            };
            prop_assert_eq!(draw(seed), draw(seed));
            prop_assert_ne!(draw(seed), draw(seed.wrapping_add(1)));
        }
    }
}
