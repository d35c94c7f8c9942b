//! The one error type of our own: a call that a layer refused or cut short.

use std::{error::Error, sync::Arc, time::Duration};

use crate::classify::Cause;

/// Why a layer of this crate refused a call or cut it short.
///
/// Layers return it boxed, as tower's own do; what a service below returned passes through unchanged. Find it again,
/// however deep, with [`Rejection::find`].
///
/// ```
/// use nudj_tower::{BoxError, Rejection};
/// use std::time::Duration;
///
/// let error: BoxError = Rejection::CircuitOpen { endpoint: None, retry_after: Some(Duration::from_secs(60)) }.into();
/// let rejection = Rejection::find(&*error).expect("it is in there");
/// assert_eq!(rejection.retry_after(), Some(Duration::from_secs(60)));
/// assert!(!rejection.was_sent());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A circuit breaker is open, here or at every endpoint.
    #[error("circuit open{}: too many recent calls failed; {}", at(.endpoint.as_deref()), hint(*.retry_after))]
    CircuitOpen {
        /// The endpoint that is cut off; `None` when there is no name, or when all are open.
        endpoint: Option<Arc<str>>,
        /// Until the next probe may be sent.
        retry_after: Option<Duration>,
    },
    /// The rate limiter would make this call wait longer than it may.
    #[error("{}", .by.text(&hint(*.retry_after)))]
    RateLimited {
        /// What the wait was too long for.
        by: LimitedBy,
        /// Until quota is free again.
        retry_after: Option<Duration>,
    },
    /// As many calls wait for quota as may wait.
    #[error("rate limited on our side: {limit} calls wait already; {}, or raise max_queue", hint(*.retry_after))]
    QueueFull {
        /// How many may wait.
        limit: usize,
        /// Until quota is free for one more call.
        retry_after: Option<Duration>,
    },
    /// The whole call took longer than it may.
    #[error(
        "deadline exceeded: the call did not end within {total:?}; raise the total timeout or look at the endpoint's latency"
    )]
    DeadlineExceeded {
        /// How long the call was allowed to take.
        total: Duration,
        /// Whether a request had left by then.
        sent: bool,
    },
    /// One attempt took longer than it may.
    #[error("attempt timed out: no complete answer within {limit:?}")]
    AttemptTimeout {
        /// How long one attempt is allowed to take.
        limit: Duration,
    },
    /// There is no endpoint to send to.
    #[error("no endpoint: the list of endpoints is empty; add one")]
    NoEndpoint,
}

/// Why a rate limiter could not let a call wait for its turn: what there is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitedBy {
    /// The quota is used up for longer than `max_wait`.
    MaxWait,
    /// Its turn would come too late for the call's deadline: a tenth of the time that was left is kept for the call itself.
    Deadline,
    /// All calls are paused for longer than it may wait: the server asked for that, or whoever has the limiter's handle.
    Pause,
}

impl LimitedBy {
    fn text(self, hint: &str) -> String {
        match self {
            Self::MaxWait => format!(
                "rate limited on our side: the quota is used up for longer than max_wait; {hint}, or raise max_requests or max_wait"
            ),
            Self::Deadline => format!(
                "rate limited on our side: its turn would come too late for the call's deadline; {hint}, or raise max_requests \
                 or the call's total timeout"
            ),
            Self::Pause => format!(
                "rate limited by a pause that the server asked for, or that was begun through the limiter's handle; {hint}"
            ),
        }
    }
}

impl Rejection {
    /// When a new call may be worth a try, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CircuitOpen { retry_after, .. }
            | Self::RateLimited { retry_after, .. }
            | Self::QueueFull { retry_after, .. } => *retry_after,
            Self::DeadlineExceeded { .. } | Self::AttemptTimeout { .. } | Self::NoEndpoint => None,
        }
    }

    /// Whether the request may have reached a server. `false` means that it had no effect anywhere.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::DeadlineExceeded { sent, .. } => *sent,
            Self::AttemptTimeout { .. } => true,
            Self::CircuitOpen { .. } | Self::RateLimited { .. } | Self::QueueFull { .. } | Self::NoEndpoint => false,
        }
    }

    /// The rejection in an error or in what caused it, walking [`Error::source`]; not one that a credential's own fetch or a
    /// store of keys met, which was another call (see [`Cause`]).
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        match Cause::of(error) {
            Cause::Rejection(rejection) => Some(rejection),
            _ => None,
        }
    }
}

fn at(endpoint: Option<&str>) -> String {
    endpoint.map(|name| format!(" at {name}")).unwrap_or_default()
}

fn hint(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(Duration::ZERO) => "try again".to_owned(),
        Some(wait) => format!("try again in {wait:?}"),
        None => "try again later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] crate::BoxError);

    #[test]
    fn a_limiters_text_names_what_can_be_changed() {
        let limited =
            |by, seconds| Rejection::RateLimited { by, retry_after: Some(Duration::from_secs(seconds)) }.to_string();
        let by_wait = limited(LimitedBy::MaxWait, 2);
        assert!(by_wait.contains("max_wait") && by_wait.contains("try again in 2s"), "{by_wait}");
        let by_deadline = limited(LimitedBy::Deadline, 0);
        assert!(by_deadline.contains("total timeout") && !by_deadline.contains("max_wait"), "{by_deadline}");
        assert!(by_deadline.contains("; try again, or"), "no time of nothing: {by_deadline}");
        let by_pause = limited(LimitedBy::Pause, 60);
        assert!(by_pause.contains("the server asked for") && by_pause.ends_with("try again in 60s"), "{by_pause}");
        assert!(!by_pause.contains("raise") && !by_pause.contains("quota"), "{by_pause}");
    }

    #[test]
    fn is_found_below_other_errors_and_boxes() {
        let error: crate::BoxError = Outer(Box::new(Outer(Rejection::NoEndpoint.into()))).into();
        assert_eq!(Rejection::find(&*error), Some(&Rejection::NoEndpoint));
        let other: crate::BoxError = "else".into();
        assert_eq!(Rejection::find(&*other), None);
    }
}
