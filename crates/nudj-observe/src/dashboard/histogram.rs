//! Durations in buckets that grow by a quarter: 0.1 ms to more than two minutes in 64 counters, any percentile within 12 %.

use std::time::Duration;

const BUCKETS: usize = 64;
/// What the first bucket ends at, in milliseconds.
const FIRST_MS: f64 = 0.1;
const GROWTH: f64 = 1.25;

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        if let Some(count) = self.counts.get_mut(bucket(took)) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.total = self.total.saturating_add(other.total);
    }

    /// The duration, in milliseconds, that `share` of all stayed within; `None` when there is none.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * self.total as f64).max(1.0);
        let mut before = 0.0;
        for (index, &count) in self.counts.iter().enumerate() {
            let count = f64::from(count);
            if count > 0.0 && before + count >= rank {
                let end = FIRST_MS * GROWTH.powf(index as f64);
                let start = if index == 0 { 0.0 } else { end / GROWTH };
                return Some(start + (end - start) * (rank - before) / count);
            }
            before += count;
        }
        None
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the buckets before")]
fn bucket(took: Duration) -> usize {
    let ms = took.as_secs_f64() * 1e3;
    if ms <= FIRST_MS {
        return 0;
    }
    let steps = ((ms / FIRST_MS).ln() / GROWTH.ln()).ceil();
    steps.clamp(0.0, 63.0) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: &[Duration]) -> Histogram {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|&took| histogram.record(took));
        histogram
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(0.5), None);
    }

    #[test]
    fn the_longest_duration_stays_in_the_last_bucket() {
        assert!(of(&[Duration::MAX]).percentile(0.5).unwrap() > 100_000.0);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_bucket_of_the_exact_ones(
            mut micros in prop::collection::vec(100_u64..100_000_000, 1..300),
            share in 0.01_f64..1.0,
        ) {
            let durations: Vec<_> = micros.iter().map(|&micros| Duration::from_micros(micros)).collect();
            let seen = of(&durations).percentile(share).unwrap();
            micros.sort_unstable();
            let rank = ((share * micros.len() as f64).ceil() as usize).clamp(1, micros.len());
            let exact = micros[rank - 1] as f64 / 1e3;
            prop_assert!(seen <= exact * GROWTH * 1.001 && seen >= exact / GROWTH * 0.999, "{seen} for {exact}");
        }

        #[test]
        fn two_added_are_as_one_that_saw_both(
            one in prop::collection::vec(0_u64..10_000_000, 0..50),
            other in prop::collection::vec(0_u64..10_000_000, 0..50),
        ) {
            let durations = |micros: &[u64]| micros.iter().map(|&m| Duration::from_micros(m)).collect::<Vec<_>>();
            let mut sum = of(&durations(&one));
            sum.add(&of(&durations(&other)));
            let both = of(&durations(&[one, other].concat()));
            for share in [0.1, 0.5, 0.9, 0.99] {
                prop_assert_eq!(sum.percentile(share), both.percentile(share));
            }
        }
    }
}
