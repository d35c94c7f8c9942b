//! The seam between a balancer and what guards each of its endpoints.

use std::time::Duration;

use tower_service::Service;

use crate::Rejection;

/// A service that can refuse a request and hand it back, so that it can be sent elsewhere.
///
/// A circuit breaker that is open, or whose half-open probe another caller took first, refuses. The balancer gives the very
/// same request to the next endpoint: that costs no attempt and no retry budget.
pub trait TryCall<Req>: Service<Req> {
    /// Sends the request, or gives it back untouched. Like `call`, only on an instance that was polled ready.
    ///
    /// # Errors
    /// [`Refused`] with the request and the reason.
    fn try_call(&mut self, request: Req) -> Result<Self::Future, Refused<Req>>;

    /// Whether a call made now would be let through. A hint: between it and the call, another may take the last place.
    fn availability(&self) -> Availability;
}

/// A request that was not sent, and why.
#[derive(Debug)]
pub struct Refused<Req> {
    /// The request, as it was given.
    pub request: Req,
    /// Why it was refused.
    pub rejection: Rejection,
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// A call made now has a chance.
    Available,
    /// A call made now would be refused.
    Unavailable {
        /// When to come again, if that is known.
        retry_after: Option<Duration>,
    },
}

/// Somebody who knows whether any endpoint would take a call: a balancer's handle. The rate limiter asks it before it spends
/// quota or makes a call wait.
pub trait Available: Send + Sync + 'static {
    /// Whether a call made now has a chance.
    fn availability(&self) -> Availability;
}
