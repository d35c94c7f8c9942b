//! What an answer means: one place that every layer asks.
//!
//! [`Classify`] is what a layer may ask about the protocol it guards. [`Http`] answers for HTTP, [`Any`] for everything else.
//! A classifier of your own goes in front and may have no opinion:
//!
//! ```
//! use http::{Response, StatusCode};
//! use nudj_tower::classify::{Classify, Http, Outcome, Verdict};
//!
//! // A 404 from this upstream means that its index is broken.
//! let rules = Http::default().first(|answer| match answer {
//!     Ok(head) if head.status == StatusCode::NOT_FOUND => Some(Verdict::failure()),
//!     _ => None,
//! });
//! let answer = Response::builder().status(404).body(()).unwrap();
//! let verdict = Classify::<http::Request<()>, _>::classify(&rules, Ok(&answer));
//! assert_eq!(verdict.outcome, Outcome::Failure);
//! ```

mod any;
mod cause;
mod http;
mod rate_limit_headers;
mod retry_after;
mod transport;
mod verdict;

use std::error::Error;

#[cfg(any(feature = "correlation", feature = "idempotency"))]
pub(crate) use self::http::since_1970;
#[cfg(feature = "rate-limit")]
pub(crate) use self::http::wall_clock;
pub use self::{
    any::Any,
    cause::{Cause, ERROR_KINDS, error_kind},
    http::{Head, Http, IDEMPOTENCY_KEY, NoRule, Rule},
    rate_limit_headers::{ServerLimit, parse as parse_rate_limit},
    retry_after::{find as retry_after, parse as parse_retry_after},
    transport::TransportError,
    verdict::{Outcome, Resend, Verdict},
};
use crate::CallContext;

/// What a layer may ask about the protocol whose calls it guards.
///
/// Only `classify` must be written; the rest says "nothing is known".
pub trait Classify<Req, Res> {
    /// What the end of an attempt means.
    fn classify(&self, result: Result<&Res, &(dyn Error + 'static)>) -> Verdict;

    /// The context that the request carries.
    fn context<'r>(&self, request: &'r Req) -> Option<&'r CallContext> {
        let _ = request;
        None
    }

    /// Whether sending the request twice does no more than sending it once.
    fn is_idempotent(&self, request: &Req) -> bool {
        let _ = request;
        false
    }

    /// Whether requests of this kind can carry a context, so that one is worth making.
    fn carries_context(&self) -> bool {
        false
    }

    /// Gives the request a context, for a layer that found none and has something to write.
    fn attach(&self, request: &mut Req, context: &CallContext) {
        let _ = (request, context);
    }

    /// The request's method.
    fn method<'r>(&self, request: &'r Req) -> Option<&'r ::http::Method> {
        let _ = request;
        None
    }

    /// The response's status.
    fn status(&self, response: &Res) -> Option<::http::StatusCode> {
        let _ = response;
        None
    }

    /// The response's head, for classifiers and limiters that read headers.
    fn headers<'r>(&self, response: &'r Res) -> Option<&'r ::http::HeaderMap> {
        let _ = response;
        None
    }
}

/// The first `T` in an error or in what caused it.
#[must_use]
pub fn find_in_chain<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
