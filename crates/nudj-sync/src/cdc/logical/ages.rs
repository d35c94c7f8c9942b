//! How old the oldest transaction is that was read and is not acknowledged.

use std::collections::VecDeque;

/// In microseconds, by the server's clock. Transactions of one moment stand together, so that few are remembered.
#[derive(Debug, Default)]
pub(super) struct Ages(VecDeque<Moment>);

#[derive(Debug)]
struct Moment {
    begun: i64,
    last_commit: u64,
}

impl Ages {
    pub(super) fn committed(&mut self, commit: u64, at: i64) {
        let is_full = self.0.len() >= MOMENTS;
        match self.0.back_mut() {
            Some(last) if is_full || at.saturating_sub(last.begun) < MOMENT => last.last_commit = commit,
            _ => self.0.push_back(Moment { begun: at, last_commit: commit }),
        }
    }

    pub(super) fn acknowledged(&mut self, upto: u64) {
        while self.0.front().is_some_and(|moment| moment.last_commit < upto) {
            self.0.pop_front();
        }
    }

    /// In seconds; 0 where nothing waits.
    pub(super) fn oldest(&self, now: i64) -> f64 {
        self.0.front().map_or(0.0, |moment| now.saturating_sub(moment.begun).max(0) as f64 / 1e6)
    }
}

const MOMENT: i64 = 100_000;
const MOMENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_the_first_that_is_not_acknowledged() {
        let mut ages = Ages::default();
        assert_eq!(ages.oldest(5_000_000), 0.0);
        ages.committed(10, 1_000_000);
        ages.committed(20, 1_050_000);
        ages.committed(30, 3_000_000);
        assert_eq!(ages.oldest(5_000_000), 4.0);
        ages.acknowledged(15);
        assert_eq!(ages.oldest(5_000_000), 4.0, "20 is of the same moment and waits");
        ages.acknowledged(25);
        assert_eq!(ages.oldest(5_000_000), 2.0);
        ages.acknowledged(35);
        assert_eq!(ages.oldest(5_000_000), 0.0);
    }

    #[test]
    fn moments_are_bounded() {
        let mut ages = Ages::default();
        for moment in 0..10_000 {
            ages.committed(moment, i64::try_from(moment).unwrap() * MOMENT);
        }
        assert_eq!(ages.0.len(), MOMENTS);
        ages.acknowledged(9_999);
        assert_eq!(ages.0.len(), 1, "the last of them waits");
    }
}
