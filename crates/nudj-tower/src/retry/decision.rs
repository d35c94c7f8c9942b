//! Whether a request is sent again, and when: values in, verdict out.

use std::time::Duration;

use crate::classify::{Resend, Verdict};

/// What is allowed at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) max_retries: u32,
    pub(super) max_retry_after: Duration,
    pub(super) unsafe_methods: bool,
}

/// What is known when an attempt has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) verdict: Verdict,
    /// Sending twice does no more than sending once.
    pub(super) idempotent: bool,
    /// The request can be sent again as it was, body included.
    pub(super) intact: bool,
    /// Repeats of this call so far.
    pub(super) repeats: u32,
    /// Another endpoint is left that this call has not been to.
    pub(super) elsewhere: bool,
    /// What is left until the deadline; `None` without one.
    pub(super) time_left: Option<Duration>,
}

/// When to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// At once, on another endpoint.
    Failover,
    /// After the backoff.
    Backoff,
    /// When the server said, or up to a quarter later.
    Asked(Duration),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The answer stands.
    Final,
    /// The request may have taken effect and may not be repeated.
    NotIdempotent,
    /// The body is gone: it was too long to be kept, or failed itself.
    BodyGone,
    /// There is no other endpoint left.
    NoOtherEndpoint,
    /// As many repeats as are allowed were sent.
    Exhausted,
    /// The server asked for more patience than we have.
    RetryAfterTooLong,
    /// The wait would end at or past the deadline.
    Deadline,
    /// The schedule has no further wait.
    ScheduleEnded,
    /// Repeats have added as much load as they may.
    Budget,
}

impl Stop {
    /// Whether somebody looking for the reason of a failed call wants to know: a repeat was wanted and not sent.
    pub(super) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Final | Self::NotIdempotent => return None,
            Self::BodyGone => "body_gone",
            Self::NoOtherEndpoint => "no_other_endpoint",
            Self::Exhausted => "max_retries",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::Deadline => "deadline",
            Self::ScheduleEnded => "schedule_ended",
            Self::Budget => "budget",
        })
    }
}

/// Whether the request may be sent again, and what it has to wait for. The budget is asked after this.
pub(super) fn decide(rules: &Rules, seen: &Situation) -> Result<Again, Stop> {
    let may_repeat = match seen.verdict.resend {
        Resend::Never => return Err(Stop::Final),
        Resend::Elsewhere if !seen.elsewhere => return Err(Stop::NoOtherEndpoint),
        Resend::IfIdempotent => seen.idempotent || rules.unsafe_methods,
        _ => true,
    };
    if !may_repeat {
        return Err(Stop::NotIdempotent);
    }
    if !seen.intact {
        return Err(Stop::BodyGone);
    }
    if seen.repeats >= rules.max_retries {
        return Err(Stop::Exhausted);
    }
    if seen.time_left == Some(Duration::ZERO) {
        return Err(Stop::Deadline);
    }
    if matches!(seen.verdict.resend, Resend::NotSent | Resend::Elsewhere) && seen.elsewhere {
        return Ok(Again::Failover);
    }
    // A failure speaks for its endpoint. One that was not tried comes first, and nobody asked for it to be spared.
    let spared = seen.verdict.resend == Resend::IfIdempotent && seen.elsewhere;
    match seen.verdict.retry_after.filter(|_| !spared) {
        // To come at once is no reason to hammer: it may be a date that has gone by on one of two clocks.
        None | Some(Duration::ZERO) => Ok(Again::Backoff),
        Some(asked) if asked > rules.max_retry_after => Err(Stop::RetryAfterTooLong),
        Some(asked) if !fits(asked, seen.time_left) => Err(Stop::Deadline),
        Some(asked) => Ok(Again::Asked(asked)),
    }
}

/// A wait that would not end before the deadline is not begun.
pub(super) fn fits(wait: Duration, time_left: Option<Duration>) -> bool {
    time_left.is_none_or(|left| wait < left)
}

/// The wait for a server that asked for `asked`: never sooner, at most a quarter later, so that those it told the same do not
/// come back together. `spread` is a draw from 0 to 1. Where the spread would not fit the deadline, the wait is as asked.
pub(super) fn spread_asked(asked: Duration, spread: f64, time_left: Option<Duration>) -> Duration {
    let quarter = asked / 4;
    let extra = Duration::try_from_secs_f64(quarter.as_secs_f64() * spread.clamp(0.0, 1.0)).unwrap_or_default();
    let wait = asked.saturating_add(extra.min(quarter));
    if fits(wait, time_left) { wait } else { asked }
}

#[cfg(test)]
mod tests;
