//! What one logical call knows about itself, shared by every layer it passes.
//!
//! A [`CallContext`] is made by the outermost layer that has something to write and travels in the request's
//! [`Extensions`]. It is one `Arc`: the copy of a request that a retry sends next points to the same context, so what the
//! first attempt learned (which endpoint it tried, how often) is known to the second. A layer that finds none works
//! without. A [`Call`] carries it at less cost, where a stack is all of our layers.
//!
//! ```
//! use nudj_tower::CallContext;
//!
//! let mut request = http::Request::new(());
//! let context = CallContext::get_or_insert(request.extensions_mut());
//! let copy = request.clone();
//! assert_eq!(CallContext::find(copy.extensions()), Some(&context));
//! ```

mod carrier;
mod trace;
mod tried;

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderValue};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::carrier::{Call, HttpRequest};
pub use self::trace::{InvalidTraceparent, SpanId, TraceContext, TraceId};
use self::tried::Tried;

/// The shared record of one logical call: its deadline, its attempts, its endpoints, its ids.
///
/// Cloning is an `Arc` clone. Equality is identity: two contexts are equal when they are the same call.
#[derive(Clone)]
pub struct CallContext(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    resends: u32,
    tries: u32,
    endpoint: Option<Arc<str>>,
    tried: Tried,
    untried: u32,
    correlation_id: Option<HeaderValue>,
    trace: Option<TraceContext>,
    first_attempt: Option<SpanId>,
    span: Option<CallSpan>,
    route: Option<Route>,
    last_status: Option<u16>,
}

/// A call's own place in its trace: what its attempts are parts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSpan {
    /// The call's own id.
    pub id: SpanId,
    /// What called it; `None` where the trace begins with this call.
    pub parent: Option<SpanId>,
    /// Whether the trace begins in this process: with this call, or with the one that is being served.
    pub begins_here: bool,
}

/// What a call's end is told by.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// As [`CallContext::route`].
    pub route: Option<Route>,
    /// As [`CallContext::endpoint`].
    pub endpoint: Option<&'a Arc<str>>,
    /// As [`CallContext::tries`].
    pub tries: u32,
    /// As [`CallContext::correlation_id`].
    pub correlation_id: Option<&'a HeaderValue>,
    /// As [`CallContext::trace`].
    pub trace: Option<&'a TraceContext>,
    /// As [`CallContext::span`].
    pub span: Option<CallSpan>,
}

/// The low-cardinality name of what is called: `/users/{id}`, never `/users/42`.
///
/// Metrics and spans use it wherever a raw path would make one series per user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// What the caller would say, in the seed's manner: `getUser`.
    pub operation: &'static str,
    /// The path's template.
    pub template: &'static str,
}

impl Default for CallContext {
    fn default() -> Self {
        Self::new()
    }
}

impl CallContext {
    /// A context that knows nothing yet. One allocation.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State::default())))
    }

    /// The context a request carries, if a layer further out made one.
    #[must_use]
    pub fn find(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Self>()
    }

    /// The context a request carries; made and attached when there is none.
    pub fn get_or_insert(extensions: &mut Extensions) -> Self {
        extensions.get_or_insert_with(Self::new).clone()
    }

    /// When the whole call must have ended; `None` means never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.lock().deadline
    }

    /// Brings the deadline forward to `deadline`. A deadline is never put off: of two, the earlier holds.
    pub fn limit_deadline(&self, deadline: Instant) {
        let mut state = self.0.lock();
        state.deadline = Some(state.deadline.map_or(deadline, |known| known.min(deadline)));
    }

    /// How often the request was sent again: 0 during the first attempt.
    #[must_use]
    pub fn resends(&self) -> u32 {
        self.0.lock().resends
    }

    /// Counts one more resend and returns its number, 1 for the first. Called by whoever repeats the request.
    pub fn count_resend(&self) -> u32 {
        let mut state = self.0.lock();
        state.resends = state.resends.saturating_add(1);
        state.resends
    }

    /// How many times an endpoint was tried, failed connects included; 0 when the call was refused at once.
    #[must_use]
    pub fn tries(&self) -> u32 {
        self.0.lock().tries
    }

    /// The name of the endpoint that was tried last.
    #[must_use]
    pub fn endpoint(&self) -> Option<Arc<str>> {
        self.0.lock().endpoint.clone()
    }

    /// Notes a try at the endpoint with the balancer's id `id` and the given name; `untried` endpoints are left that this call has not
    /// been to and that would take it.
    pub fn record_try(&self, id: u64, endpoint: &Arc<str>, untried: u32) {
        let mut state = self.0.lock();
        state.tries = state.tries.saturating_add(1);
        if state.endpoint.as_ref().is_none_or(|known| !Arc::ptr_eq(known, endpoint)) {
            state.endpoint = Some(Arc::clone(endpoint));
        }
        state.tried.insert(id);
        state.untried = untried;
    }

    /// Notes a try where no balancer names endpoints.
    pub fn count_try(&self) {
        let mut state = self.0.lock();
        state.tries = state.tries.saturating_add(1);
    }

    /// Whether this call has been to the endpoint with this id.
    #[must_use]
    pub fn has_tried(&self, id: u64) -> bool {
        self.0.lock().tried.contains(id)
    }

    /// How many endpoints are left that this call has not been to, as the balancer said at the last try; 0 without a balancer.
    #[must_use]
    pub fn untried_endpoints(&self) -> u32 {
        self.0.lock().untried
    }

    /// Notes how many endpoints are left, where there was none to try.
    pub fn set_untried_endpoints(&self, untried: u32) {
        self.0.lock().untried = untried;
    }

    /// The id that ties this call's log lines together, as sent in `x-correlation-id`.
    #[must_use]
    pub fn correlation_id(&self) -> Option<HeaderValue> {
        self.0.lock().correlation_id.clone()
    }

    /// The call's place in its distributed trace.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.0.lock().trace.clone()
    }

    /// Writes the ids that the correlation layer settled on.
    pub fn set_ids(&self, correlation_id: HeaderValue, trace: TraceContext) {
        let mut state = self.0.lock();
        state.correlation_id = Some(correlation_id);
        state.trace = Some(trace);
    }

    /// Looks at several things at once without a copy of any, for who is told of every call.
    ///
    /// The context is locked while `look` runs, which therefore must not call it.
    pub fn with_facts<T>(&self, look: impl FnOnce(&CallFacts<'_>) -> T) -> T {
        let state = self.0.lock();
        look(&CallFacts {
            route: state.route,
            endpoint: state.endpoint.as_ref(),
            tries: state.tries,
            correlation_id: state.correlation_id.as_ref(),
            trace: state.trace.as_ref(),
            span: state.span,
        })
    }

    /// The call's own span, as the correlation layer settled it.
    #[must_use]
    pub fn span(&self) -> Option<CallSpan> {
        self.0.lock().span
    }

    /// Writes the call's own span.
    pub fn set_span(&self, span: CallSpan) {
        self.0.lock().span = Some(span);
    }

    /// All that the correlation layer settles.
    #[cfg(feature = "correlation")]
    pub(crate) fn settle(
        &self,
        correlation_id: HeaderValue,
        trace: TraceContext,
        span: CallSpan,
        first_attempt: SpanId,
    ) {
        let mut state = self.0.lock();
        state.correlation_id = Some(correlation_id);
        state.trace = Some(trace);
        state.span = Some(span);
        state.first_attempt = Some(first_attempt);
    }

    /// Says that the request carries a `traceparent` already, with this span id, which is the first attempt's. Whoever writes the
    /// correlation id can cut both from one buffer, and so save the attempt layer an allocation and a header.
    pub fn set_first_attempt(&self, id: SpanId) {
        self.0.lock().first_attempt = Some(id);
    }

    /// The span id that the first attempt's request carries already. Taken, not read: two requests of one call never share one.
    #[must_use]
    pub fn take_first_attempt(&self) -> Option<SpanId> {
        self.0.lock().first_attempt.take()
    }

    /// The low-cardinality name of what is called, if the caller gave one.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.0.lock().route
    }

    /// Names what is called.
    pub fn set_route(&self, route: Route) {
        self.0.lock().route = Some(route);
    }

    /// The status of the last answer that arrived, whether or not it stood.
    #[must_use]
    pub fn last_status(&self) -> Option<u16> {
        self.0.lock().last_status
    }

    /// Notes the status of an answer.
    pub fn set_last_status(&self, status: http::StatusCode) {
        self.0.lock().last_status = Some(status.as_u16());
    }
}

impl PartialEq for CallContext {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CallContext {}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("CallContext")
            .field("deadline", &state.deadline)
            .field("resends", &state.resends)
            .field("tries", &state.tries)
            .field("endpoint", &state.endpoint)
            .field("correlation_id", &state.correlation_id)
            .field("route", &state.route)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_copy_of_the_request_shares_what_the_first_attempt_learned() {
        let mut request = http::Request::new(());
        let context = CallContext::get_or_insert(request.extensions_mut());
        let copy = request.clone();
        context.record_try(7, &Arc::from("a"), 2);
        let seen = CallContext::find(copy.extensions()).expect("the copy carries the context");
        assert!(seen.has_tried(7) && !seen.has_tried(8));
        assert_eq!((seen.tries(), seen.untried_endpoints()), (1, 2));
        assert_eq!(seen.endpoint().as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_deadlines_the_earlier_holds() {
        let (context, now) = (CallContext::new(), Instant::now());
        context.limit_deadline(now + Duration::from_secs(2));
        context.limit_deadline(now + Duration::from_secs(9));
        assert_eq!(context.deadline(), Some(now + Duration::from_secs(2)));
        context.limit_deadline(now + Duration::from_secs(1));
        assert_eq!(context.deadline(), Some(now + Duration::from_secs(1)));
    }
}
