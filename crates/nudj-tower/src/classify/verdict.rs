use std::time::Duration;

/// How an attempt ended, seen by whoever judges the health of what answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// An answer. A 404 is one too.
    Success,
    /// The other side is sick: 5xx, a broken exchange, a timeout.
    Failure,
    /// The other side is well and wants less: 429. Counts for failure rates and fails a probe, not for consecutive failures.
    Throttled,
    /// Says nothing about the other side: our own refusals, an answer too large for us.
    Ignored,
}

/// Whether a request may be sent again after this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resend {
    /// No: the answer stands.
    Never,
    /// Only on another endpoint: this one is cut off.
    Elsewhere,
    /// Only if the request is idempotent: it may have taken effect.
    IfIdempotent,
    /// Yes: the server says that it did nothing (429, 503 with Retry-After).
    Refused,
    /// Yes: it never left. Another endpoint can be tried at once.
    NotSent,
}

/// What the end of an attempt means, for all who ask: breaker, retry, balancer, limiter, metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For whoever judges health.
    pub outcome: Outcome,
    /// For whoever would send again.
    pub resend: Resend,
    /// What the server asked for, unclamped: never sooner than this.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    const fn new(outcome: Outcome, resend: Resend) -> Self {
        Self { outcome, resend, retry_after: None }
    }

    /// An answer that stands.
    #[must_use]
    pub const fn success() -> Self {
        Self::new(Outcome::Success, Resend::Never)
    }

    /// The other side is sick, and the request may have taken effect.
    #[must_use]
    pub const fn failure() -> Self {
        Self::new(Outcome::Failure, Resend::IfIdempotent)
    }

    /// The other side wants less, and did nothing.
    #[must_use]
    pub const fn throttled() -> Self {
        Self::new(Outcome::Throttled, Resend::Refused)
    }

    /// Nobody's failure; not sent again.
    #[must_use]
    pub const fn ignored() -> Self {
        Self::new(Outcome::Ignored, Resend::Never)
    }

    /// The same verdict with another word on sending again.
    #[must_use]
    pub const fn resend(mut self, resend: Resend) -> Self {
        self.resend = resend;
        self
    }

    /// The same verdict with what the server asked for.
    #[must_use]
    pub const fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }
}
