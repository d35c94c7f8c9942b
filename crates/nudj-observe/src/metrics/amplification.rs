//! How many tries a call took, over the last minute.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);
/// Samples stand at least so far apart, so there are never more than `WINDOW / STEP + 2`.
const STEP: Duration = Duration::from_secs(1);

/// Totals at some moments.
#[derive(Debug, Default)]
pub(super) struct Amplification(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    calls: u64,
    tries: u64,
}

impl Amplification {
    /// Tries per call since the oldest sample of the window, given the totals now; 1 while there were no calls.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub(super) fn ratio(&mut self, calls: u64, tries: u64, now: Instant) -> f64 {
        // The newest sample from before the window is its beginning.
        while self.0.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= WINDOW) {
            self.0.pop_front();
        }
        let start = self.0.front().copied().unwrap_or(Sample { at: now, calls: 0, tries: 0 });
        if self.0.back().is_none_or(|last| now.saturating_duration_since(last.at) >= STEP) {
            self.0.push_back(Sample { at: now, calls, tries });
        }
        match calls.saturating_sub(start.calls) {
            0 => 1.0,
            calls => tries.saturating_sub(start.tries) as f64 / calls as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minute_counts() {
        let (mut amplification, start) = (Amplification::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(amplification.ratio(0, 0, at(0)), 1.0);
        assert_eq!(amplification.ratio(100, 150, at(10)), 1.5);
        // The calls lie between the samples of 0 and 10.
        for second in 11..75 {
            let expected = if second < 70 { 1.5 } else { 1.0 };
            assert_eq!(amplification.ratio(100, 150, at(second)), expected, "second {second}");
        }
        assert_eq!(amplification.ratio(200, 250, at(75)), 1.0);
        assert!(amplification.0.len() <= 62);
    }

    #[test]
    fn the_first_reading_counts_from_nothing() {
        assert_eq!(Amplification::default().ratio(10, 20, Instant::now()), 2.0);
    }
}
