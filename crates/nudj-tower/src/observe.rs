//! What layers tell whoever watches: one trait, one enum, nothing by default.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(any(feature = "attempt", feature = "correlation", feature = "metrics"))]
use http::Method;
use tokio::time::Instant;

use crate::{CallContext, SpanId, classify::Outcome};

/// Receives what the layers report. Called on the call's own path: count, and return; do not block.
pub trait Observer: Send + Sync + 'static {
    /// One thing happened.
    fn observe(&self, event: &Event<'_>);

    /// Whether it would do anything with what it is told now. Asked once a call, so a look at a flag, no more; a call that begins while
    /// it says no is not told of, neither its start nor its end.
    fn is_on(&self) -> bool {
        true
    }

    /// Whether it wants to know of this call's attempts what a trace shows: without anybody who does, no times and ids are kept. The metrics
    /// layer asks when the call begins, by when the correlation layer around it has settled its trace; without one, each attempt asks.
    fn traces(&self, _call: &CallContext) -> bool {
        false
    }
}

/// One thing that happened in a layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A logical call began.
    CallStarted {
        /// The call.
        context: &'a CallContext,
    },
    /// A logical call ended, or was dropped by its caller (`outcome` is then `None`).
    CallEnded {
        /// The call, with its attempts, endpoint, route and ids.
        context: &'a CallContext,
        /// The request's method, `_OTHER` for one that nobody knows; `None` when the requests are not HTTP.
        method: Option<&'static str>,
        /// What the answer meant.
        outcome: Option<Outcome>,
        /// The status of the answer, where there was one.
        status: Option<u16>,
        /// The kind of failure in OpenTelemetry's `error.type` manner: a status, `timeout`, `circuit_open`, `connect` …
        error: Option<&'a str>,
        /// From start to end, waits and backoff included.
        duration: Duration,
        /// When it ended.
        at: Instant,
        /// Its attempts that have ended, in that order; `None` where nobody [`traces`](Observer::traces) it.
        attempts: Option<&'a [TracedAttempt]>,
    },
    /// One try at an endpoint ended.
    AttemptEnded {
        /// The endpoint's name.
        endpoint: &'a str,
        /// What the answer meant; `None` when the attempt was dropped.
        outcome: Option<Outcome>,
    },
    /// A request will be sent again after `delay`.
    Retried {
        /// 1 for the first repeat.
        number: u32,
        /// The wait before it; zero for a failover.
        delay: Duration,
        /// Whether it goes to another endpoint without a wait.
        failover: bool,
    },
    /// A repeat was not sent because the retry budget is spent.
    RetryBudgetExhausted,
    /// A call passed the limiter after waiting.
    LimiterWaited {
        /// How long it stood in the queue.
        waited: Duration,
    },
    /// The limiter refused a call for want of quota or room. One that it refuses because no endpoint would take it ends as `circuit_open`, and
    /// is told by [`Event::CallEnded`] alone.
    LimiterRefused {
        /// Whether the queue was full (else the wait would have been too long).
        queue_full: bool,
    },
    /// The server told us to pause.
    LimiterPaused {
        /// For how long.
        pause: Duration,
    },
    /// A breaker changed its state.
    BreakerChanged {
        /// The breaker's name, an endpoint's name in the composed stack.
        name: &'a str,
        /// The state it left: `closed`, `open`, `half_open`, `forced_open`, `disabled`, `metrics_only`.
        from: &'static str,
        /// The state it is in now.
        to: &'static str,
        /// For an open breaker, how long until it probes.
        retry_after: Option<Duration>,
    },
    /// A breaker refused a call.
    BreakerRefused {
        /// The breaker's name.
        name: &'a str,
    },
    /// The balancer took an endpoint out, or back in.
    EndpointEjected {
        /// The endpoint's name.
        endpoint: &'a str,
        /// How long it stays out; `None` when it came back.
        until: Option<Duration>,
    },
    /// A credential was renewed, or could not be.
    CredentialRefreshed {
        /// The provider's name.
        provider: &'a str,
        /// Whether there is a new credential.
        renewed: bool,
        /// How long the new one is valid.
        valid_for: Option<Duration>,
    },
    /// An attempt ended of which no call's end will tell: there is no metrics layer around it, or the call has ended before. Only told
    /// where somebody [`traces`](Observer::traces).
    AttemptTraced {
        /// The call.
        context: &'a CallContext,
        /// The attempt.
        attempt: &'a TracedAttempt,
    },
}

/// An attempt that has ended, with its place in the trace that the call's context names.
#[derive(Clone, Debug)]
pub struct TracedAttempt {
    /// The span id that its request carried in `traceparent`.
    pub id: SpanId,
    /// How often the request had been sent before.
    pub resends: u32,
    /// As in [`Event::CallEnded`].
    pub method: &'static str,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// The kind of failure where there was no answer, in OpenTelemetry's `error.type` manner; `cancelled` for what was dropped.
    pub error: Option<&'static str>,
    /// Where it went.
    pub went: Went,
    /// When it began.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
}

/// Where an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Went {
    /// To none that is known: it was refused before, or no layer below names endpoints, as [`round_robin`](crate::round_robin) does.
    Nowhere,
    /// Where the call was last.
    Last,
    /// To the endpoint of this name, and the call has been elsewhere since.
    To(Arc<str>),
}

/// An optional observer, cheap to clone and free to call when there is none.
#[derive(Clone, Default)]
pub struct Observers(Option<Arc<dyn Observer>>);

impl Observers {
    /// Reports to `observer`.
    pub fn new(observer: impl Observer) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Reports to an observer that is shared.
    #[must_use]
    pub fn shared(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    /// Whether anybody listens.
    #[must_use]
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.is_on())
    }

    /// Tells this observer from others; 0 where there is none.
    #[cfg(any(feature = "attempt", feature = "metrics"))]
    pub(crate) fn id(&self) -> usize {
        self.0.as_ref().map_or(0, |observer| Arc::as_ptr(observer).addr())
    }

    /// Whether anybody wants to know of this call's attempts.
    #[must_use]
    #[inline]
    pub fn traces(&self, call: &CallContext) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.traces(call))
    }

    /// Tells the observer, if there is one; `event` is only made then.
    pub fn tell<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.0 {
            observer.observe(&event());
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.is_on()).finish()
    }
}

impl<F> Observer for F
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// What OpenTelemetry's conventions call a method that nobody knows, which is a caller's free text.
#[cfg(any(feature = "attempt", feature = "correlation", feature = "metrics"))]
pub(crate) const UNKNOWN_METHOD: &str = "_OTHER";

/// The method, or [`UNKNOWN_METHOD`].
#[cfg(any(feature = "attempt", feature = "correlation", feature = "metrics"))]
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => UNKNOWN_METHOD,
    }
}
