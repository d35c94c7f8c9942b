//! How long one may wait.

use super::{
    config::RateLimitConfig,
    meter::{Nanos, nanos},
};
use crate::LimitedBy;

/// One part in so many of the time that a call has left is kept for the call itself. Without that an overloaded limiter lets every call pass
/// just before its deadline: all are sent, nearly all are cut off, and a breaker takes that for the server's failure.
const CALLS_SHARE: Nanos = 10;

/// Who may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    max_wait: Nanos,
    max_queue: usize,
}

/// How late one who waits may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Its turn may come then at the latest.
    pub(super) until: Nanos,
    /// What sets `until`.
    pub(super) by: LimitedBy,
    /// From here on its call is over, and quota for it would be wasted.
    pub(super) deadline: Nanos,
}

impl Patience {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        Self { max_wait: nanos(config.max_wait), max_queue: config.max_queue }
    }

    pub(super) fn max_queue(self) -> usize {
        self.max_queue
    }

    /// Of one who asks at `now`, and whose whole call must have ended by `deadline`.
    pub(super) fn bounds(self, now: Nanos, deadline: Option<Nanos>) -> Bounds {
        let patient = now.saturating_add(self.max_wait);
        let (in_time, deadline) = match deadline {
            Some(deadline) => (deadline - deadline.saturating_sub(now) / CALLS_SHARE, deadline),
            None => (Nanos::MAX, Nanos::MAX),
        };
        let by = if in_time < patient { LimitedBy::Deadline } else { LimitedBy::MaxWait };
        Bounds { until: patient.min(in_time), by, deadline }
    }
}

impl Bounds {
    pub(super) fn are_over(self, now: Nanos) -> bool {
        now >= self.deadline
    }

    /// Whether one whose turn is at `turn` is to be refused now.
    pub(super) fn are_passed(self, turn: Nanos, now: Nanos) -> bool {
        turn > self.until || self.are_over(now)
    }

    /// Why they are.
    pub(super) fn passed_by(self, paused_until: Nanos, now: Nanos) -> LimitedBy {
        if self.are_over(now) {
            LimitedBy::Deadline
        } else if paused_until > self.until {
            LimitedBy::Pause
        } else {
            self.by
        }
    }
}
