//! The server-side quota: at most so many requests in any window.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A log of the times of admitted requests; its length never exceeds the quota.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u32,
    window: Duration,
    admitted: VecDeque<Instant>,
}

/// What the quota says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// When the next place comes back: that of the oldest admitted request, be it this one.
    pub(crate) reset: Duration,
    pub(crate) admitted: bool,
}

impl Quota {
    pub(crate) fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, admitted: VecDeque::new() }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Standing {
        while self.admitted.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.window) {
            self.admitted.pop_front();
        }
        let used = u32::try_from(self.admitted.len()).unwrap_or(u32::MAX);
        let admitted = used < self.limit;
        if admitted {
            self.admitted.push_back(now);
        }
        let reset = self
            .admitted
            .front()
            .map_or(self.window, |oldest| self.window.saturating_sub(now.saturating_duration_since(*oldest)));
        Standing { limit: self.limit, remaining: self.limit.saturating_sub(used).saturating_sub(1), reset, admitted }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_limit_and_the_reset_is_exact(
            limit in 0_u32..6,
            gaps in prop::collection::vec(0_u64..400, 1..60),
        ) {
            let window = Duration::from_millis(1000);
            let mut quota = Quota::new(limit, window);
            let mut now = Instant::now();
            let mut admitted: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                let recent = |at: Instant| admitted.iter().filter(|then| at.duration_since(**then) < window).count();
                let before = recent(now);
                let standing = quota.take(now);
                prop_assert_eq!(standing.admitted, before < limit as usize);
                if standing.admitted {
                    admitted.push(now);
                }
                if limit > 0 {
                    let recent = |at: Instant| admitted.iter().filter(|then| at.duration_since(**then) < window).count();
                    let used = (limit - standing.remaining) as usize;
                    prop_assert!(recent(now + standing.reset) < used);
                    prop_assert_eq!(recent(now + standing.reset - Duration::from_nanos(1)), used);
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_comes_back_exactly_one_window_after_it_was_taken() {
        let window = Duration::from_secs(1);
        let mut quota = Quota::new(2, window);
        let start = Instant::now();
        assert!(quota.take(start).admitted);
        let last = quota.take(start + window / 2);
        assert_eq!((last.admitted, last.remaining, last.reset), (true, 0, window / 2));
        let refused = quota.take(start + window * 3 / 4);
        assert_eq!((refused.admitted, refused.reset), (false, window / 4));
        assert!(quota.take(start + window).admitted);
        assert!(!quota.take(start + window).admitted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_of_nothing_admits_nothing() {
        let mut quota = Quota::new(0, Duration::from_secs(3));
        let refused = quota.take(Instant::now());
        assert_eq!((refused.admitted, refused.reset), (false, Duration::from_secs(3)));
    }
}
