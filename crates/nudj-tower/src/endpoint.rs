//! The seam between a balancer and what guards each of its endpoints.

use std::time::Duration;

use tower_service::Service;

use crate::Rejection;

/// A service that can refuse a request and hand it back, so that it can be sent elsewhere.
///
/// A circuit breaker that is open, or whose half-open probe another caller took first, refuses. The balancer gives the very
/// same request to the next endpoint: that costs no attempt and no retry budget.
///
/// Whether it would let a call through does not depend on the request, so that is a trait of its own: [`Available`].
pub trait TryCall<Req>: Service<Req> + Available {
    /// Sends the request, or gives it back untouched. Like `call`, only on an instance that was polled ready.
    ///
    /// # Errors
    /// [`Refused`] with the request and the reason.
    fn try_call(&mut self, request: Req) -> Result<Self::Future, Refused<Req>>;
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

/// Somebody who knows whether a call would be let through: an endpoint's circuit breaker, or a balancer's handle, whom the rate
/// limiter asks before it spends quota or makes a call wait. Asked on each call's own path: read a word or two, and return.
pub trait Available: Send + Sync + 'static {
    /// Whether a call made now has a chance. A hint: between it and the call, another may take the last place.
    fn availability(&self) -> Availability;
}
