use std::fmt;

/// A median and the interval that holds the true one in 95 of 100 such samples.
#[derive(Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Interval {
    /// By rank, so that nothing is supposed of how the values are spread: the bounds lie 1.96 standard deviations of a fair coin's
    /// count away from the middle.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let away = (1.96 * (count as f64).sqrt() / 2.0).ceil() as usize;
        let at = |rank: usize| sorted.get(rank.min(count.saturating_sub(1))).copied().unwrap_or(f64::NAN);
        Self { median: at(count / 2), low: at((count / 2).saturating_sub(away)), high: at(count / 2 + away) }
    }

    pub(crate) fn fields(&self) -> String {
        format!("{:.4},{:.4},{:.4}", self.median, self.low, self.high)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.low, self.high)
    }
}
