use std::time::Duration;

use super::meter::Nanos;
use crate::{LimitedBy, Rejection};

/// Why a call does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would have to wait longer than it may.
    Late { by: LimitedBy, retry_after: Option<Duration> },
    /// As many wait as may.
    Full { limit: usize, retry_after: Option<Duration> },
}

impl Refusal {
    pub(super) fn rejection(self) -> Rejection {
        match self {
            Self::Late { by, retry_after } => Rejection::RateLimited { by, retry_after },
            Self::Full { limit, retry_after } => Rejection::QueueFull { limit, retry_after },
        }
    }

    pub(super) fn late(by: LimitedBy, turn: Nanos, now: Nanos) -> Self {
        Self::Late { by, retry_after: wait(turn, now) }
    }

    pub(super) fn full(limit: usize, turn: Nanos, now: Nanos) -> Self {
        Self::Full { limit, retry_after: wait(turn, now) }
    }
}

fn wait(turn: Nanos, now: Nanos) -> Option<Duration> {
    Some(Duration::from_nanos(turn.saturating_sub(now)))
}
