//! Which headers an attempt adds.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{CallContext, SpanId};

/// The header that tells a repeat from a first attempt: `x-retry-attempt`, 1 for the first repeat.
pub const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("x-retry-attempt");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Writes the headers of the attempt that is `resends` repeats after the first, and gives the span id that its `traceparent` has.
#[inline]
pub(super) fn write(
    headers: &mut HeaderMap,
    context: &CallContext,
    resends: u32,
    rng: impl FnOnce() -> fastrand::Rng,
) -> Option<SpanId> {
    if resends == 0
        && let Some(first) = context.take_first_attempt()
    {
        // The request carries it, and tracestate as well: whoever prepared it wrote them.
        return Some(first);
    }
    write_next(headers, context, resends, rng)
}

#[cold]
fn write_next(
    headers: &mut HeaderMap,
    context: &CallContext,
    resends: u32,
    rng: impl FnOnce() -> fastrand::Rng,
) -> Option<SpanId> {
    if resends > 0 {
        headers.insert(RETRY_ATTEMPT, HeaderValue::from(resends));
    }
    let trace = context.trace()?;
    let id = SpanId::random(&mut rng());
    if let Ok(traceparent) = HeaderValue::from_bytes(&trace.traceparent(id)) {
        headers.insert(TRACEPARENT, traceparent);
    }
    if let Some(state) = trace.tracestate {
        headers.entry(TRACESTATE).or_insert(state);
    }
    Some(id)
}

/// The span id in the headers that are sent.
pub(super) fn span_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()?.get(36..52)
}
