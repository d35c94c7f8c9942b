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

mod attempts;
mod carrier;
mod facts;
mod mark;
mod trace;
mod tried;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use http::{Extensions, HeaderValue};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use self::mark::Mark;
use self::tried::Tried;
pub use self::{
    carrier::{Call, HttpRequest},
    facts::{CallFacts, CallSpan, Route},
    trace::{InvalidTraceparent, SpanId, TraceContext, TraceId},
};
use crate::observe::TracedAttempt;

/// The shared record of one logical call: its deadline, its attempts, its endpoints, its ids.
///
/// Cloning is an `Arc` clone. Equality is identity: two contexts are equal when they are the same call.
#[derive(Clone)]
pub struct CallContext(Arc<Inner>);

/// Single numbers are atomics, since most layers look at one or two of them: a lock would be two shared writes each time. They order
/// nothing else; who hands a call to another thread does.
struct Inner {
    /// A [`Mark`].
    deadline: AtomicU64,
    resends: AtomicU32,
    in_doubt: AtomicBool,
    /// Written under the lock.
    tries: AtomicU32,
    untried: AtomicU32,
    /// 0 is none.
    last_status: AtomicU16,
    /// 0 is none.
    first_attempt: AtomicU64,
    /// Whether a call's end will tell of the attempts.
    #[cfg_attr(not(any(feature = "attempt", feature = "metrics")), expect(dead_code, reason = "nobody keeps any"))]
    keeps_attempts: AtomicBool,
    /// Who was asked and does not want to know of the attempts; 0 is nobody.
    #[cfg_attr(not(any(feature = "attempt", feature = "metrics")), expect(dead_code, reason = "nobody asks"))]
    untraced_by: AtomicUsize,
    rest: Mutex<Rest>,
}

impl Default for Inner {
    #[inline]
    fn default() -> Self {
        Self {
            deadline: AtomicU64::new(Mark::NEVER.0),
            resends: AtomicU32::new(0),
            in_doubt: AtomicBool::new(false),
            tries: AtomicU32::new(0),
            untried: AtomicU32::new(0),
            last_status: AtomicU16::new(0),
            first_attempt: AtomicU64::new(0),
            keeps_attempts: AtomicBool::new(false),
            untraced_by: AtomicUsize::new(0),
            rest: Mutex::default(),
        }
    }
}

#[derive(Default)]
struct Rest {
    endpoint: Option<Arc<str>>,
    tried: Tried,
    correlation_id: Option<HeaderValue>,
    trace: Option<TraceContext>,
    span: Option<CallSpan>,
    route: Option<Route>,
    attempts: Vec<TracedAttempt>,
}

impl Default for CallContext {
    fn default() -> Self {
        Self::new()
    }
}

impl CallContext {
    /// A context that knows nothing yet. One allocation.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        // By `default`, which makes it where it stays; `new` would make it first and then move 300 bytes there.
        Self(Arc::default())
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
        self.deadline_mark().time()
    }

    #[inline]
    pub(crate) fn deadline_mark(&self) -> Mark {
        Mark(self.0.deadline.load(Relaxed))
    }

    /// Brings the deadline forward to `deadline`. A deadline is never put off: of two, the earlier holds.
    pub fn limit_deadline(&self, deadline: Instant) {
        self.bring_forward(deadline);
    }

    /// As [`limit_deadline`](Self::limit_deadline); whether it is `deadline` that holds.
    #[inline]
    pub(crate) fn bring_forward(&self, deadline: Instant) -> bool {
        let Mark(ours) = Mark::of(deadline);
        self.0.deadline.fetch_min(ours, Relaxed) >= ours
    }

    /// How often the request was sent again: 0 during the first attempt.
    #[must_use]
    #[inline]
    pub fn resends(&self) -> u32 {
        self.0.resends.load(Relaxed)
    }

    /// Counts one more resend and returns its number, 1 for the first. Called by whoever repeats the request.
    pub fn count_resend(&self) -> u32 {
        self.0.resends.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Whether the request was sent again after an attempt that may have taken effect: its answer never came, or did not say. However the
    /// last attempt ended, then, be it refused before it was sent, the call may have been done.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt.load(Relaxed)
    }

    /// Notes that an attempt which may have taken effect does not stand. Called by whoever repeats the request.
    pub fn set_in_doubt(&self) {
        self.0.in_doubt.store(true, Relaxed);
    }

    /// How many times an endpoint was tried, failed connects included; 0 when the call was refused at once, and where no layer
    /// below counts, as [`round_robin`](crate::round_robin) does.
    #[must_use]
    #[inline]
    pub fn tries(&self) -> u32 {
        self.0.tries.load(Relaxed)
    }

    /// The name of the endpoint that was tried last.
    #[must_use]
    pub fn endpoint(&self) -> Option<Arc<str>> {
        self.0.rest.lock().endpoint.clone()
    }

    /// Notes a try at the endpoint with the balancer's id `id` and the given name; `untried` endpoints are left that this call has not
    /// been to and that would take it.
    #[inline]
    pub fn record_try(&self, id: u64, endpoint: &Arc<str>, untried: u32) {
        let mut rest = self.0.rest.lock();
        if rest.endpoint.as_ref().is_none_or(|known| !Arc::ptr_eq(known, endpoint))
            && let Some(before) = rest.endpoint.replace(Arc::clone(endpoint))
        {
            attempts::went_to(&mut rest.attempts, &before);
        }
        rest.tried.insert(id);
        self.0.untried.store(untried, Relaxed);
        self.0.tries.store(self.tries().saturating_add(1), Relaxed);
    }

    /// Notes a try where no balancer names endpoints.
    pub fn count_try(&self) {
        let _rest = self.0.rest.lock();
        self.0.tries.store(self.tries().saturating_add(1), Relaxed);
    }

    /// Whether this call has been to the endpoint with this id.
    #[must_use]
    pub fn has_tried(&self, id: u64) -> bool {
        self.tries() > 0 && self.0.rest.lock().tried.contains(id)
    }

    /// How many endpoints are left that this call has not been to, as the balancer said at the last try; 0 without a balancer.
    #[must_use]
    pub fn untried_endpoints(&self) -> u32 {
        self.0.untried.load(Relaxed)
    }

    /// Notes how many endpoints are left, where there was none to try.
    pub fn set_untried_endpoints(&self, untried: u32) {
        self.0.untried.store(untried, Relaxed);
    }

    /// The id that ties this call's log lines together, as sent in `x-correlation-id`.
    #[must_use]
    pub fn correlation_id(&self) -> Option<HeaderValue> {
        self.0.rest.lock().correlation_id.clone()
    }

    /// The call's place in its distributed trace.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.0.rest.lock().trace.clone()
    }

    /// Writes the ids that the correlation layer settled on.
    pub fn set_ids(&self, correlation_id: HeaderValue, trace: TraceContext) {
        let mut rest = self.0.rest.lock();
        rest.correlation_id = Some(correlation_id);
        rest.trace = Some(trace);
    }

    /// Looks at several things at once without a copy of any, for who is told of every call.
    ///
    /// The context is locked while `look` runs, which therefore must not call it.
    pub fn with_facts<T>(&self, look: impl FnOnce(&CallFacts<'_>) -> T) -> T {
        let rest = self.0.rest.lock();
        look(&CallFacts {
            route: rest.route,
            endpoint: rest.endpoint.as_ref(),
            tries: self.tries(),
            correlation_id: rest.correlation_id.as_ref(),
            trace: rest.trace.as_ref(),
            span: rest.span,
        })
    }

    /// The call's own span, as the correlation layer settled it.
    #[must_use]
    pub fn span(&self) -> Option<CallSpan> {
        self.0.rest.lock().span
    }

    /// Writes the call's own span.
    pub fn set_span(&self, span: CallSpan) {
        self.0.rest.lock().span = Some(span);
    }

    /// All that the correlation layer settles.
    #[cfg(feature = "correlation")]
    #[inline]
    pub(crate) fn settle(
        &self,
        correlation_id: HeaderValue,
        trace: TraceContext,
        span: CallSpan,
        first_attempt: SpanId,
    ) {
        self.set_first_attempt(first_attempt);
        let mut rest = self.0.rest.lock();
        rest.correlation_id = Some(correlation_id);
        rest.trace = Some(trace);
        rest.span = Some(span);
    }

    /// Says that the request carries a `traceparent` already, with this span id, which is the first attempt's. Whoever writes the
    /// correlation id can cut both from one buffer, and so save the attempt layer an allocation and a header.
    #[inline]
    pub fn set_first_attempt(&self, id: SpanId) {
        self.0.first_attempt.store(id.get(), Relaxed);
    }

    /// The span id that the first attempt's request carries already. Taken, not read: two requests of one call never share one.
    #[must_use]
    #[inline]
    pub fn take_first_attempt(&self) -> Option<SpanId> {
        SpanId::new(self.0.first_attempt.swap(0, Relaxed))
    }

    /// The low-cardinality name of what is called, if the caller gave one.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.0.rest.lock().route
    }

    /// Names what is called.
    pub fn set_route(&self, route: Route) {
        self.0.rest.lock().route = Some(route);
    }

    /// The status of the last answer that arrived, whether or not it stood.
    #[must_use]
    pub fn last_status(&self) -> Option<u16> {
        Some(self.0.last_status.load(Relaxed)).filter(|status| *status != 0)
    }

    /// Notes the status of an answer.
    #[inline]
    pub fn set_last_status(&self, status: http::StatusCode) {
        self.0.last_status.store(status.as_u16(), Relaxed);
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
        let rest = self.0.rest.lock();
        f.debug_struct("CallContext")
            .field("deadline", &self.deadline())
            .field("resends", &self.resends())
            .field("tries", &self.tries())
            .field("endpoint", &rest.endpoint)
            .field("correlation_id", &rest.correlation_id)
            .field("route", &rest.route)
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
        // To the nanosecond, whenever it is.
        for nanos in [1, 0, 999_999_999] {
            let context = CallContext::new();
            assert_eq!(context.deadline(), None);
            let at = now + Duration::from_secs(100 * 365 * 86_400) + Duration::from_nanos(nanos);
            context.limit_deadline(at);
            assert_eq!(context.deadline(), Some(at));
        }
        // One long past is past.
        if let Some(long_ago) = now.checked_sub(Duration::from_secs(2 * 86_400)) {
            context.limit_deadline(long_ago);
            assert!(context.deadline().is_some_and(|at| at < now));
        }
    }
}
