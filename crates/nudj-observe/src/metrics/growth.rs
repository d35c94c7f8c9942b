//! Totals that somebody else counts, as what they grew by.

/// A total as it was read last; 0 before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth(u64);

impl Growth {
    /// How much the total has grown since it was read last. One that has fallen was begun anew, and all of it is new.
    pub(super) fn to(&mut self, total: u64) -> u64 {
        let before = std::mem::replace(&mut self.0, total);
        total.checked_sub(before).unwrap_or(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_that_begins_anew_grows_on() {
        let mut growth = Growth::default();
        assert_eq!([5, 5, 9, 2, 3, 0, 1].map(|total| growth.to(total)), [5, 0, 4, 2, 1, 0, 1]);
    }
}
