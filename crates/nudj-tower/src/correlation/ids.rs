//! Which id and which trace a call gets.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::GetAll};

use super::task::Served;
use crate::{CallSpan, SpanId, TraceContext, classify::since_1970};

/// The header that carries the id: `x-correlation-id`.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const MAX_ID: usize = 128;
const UUID: usize = 36;
const BOTH: usize = UUID + 55;

/// The ids that hold for a call.
pub(super) struct Settled {
    pub(super) correlation_id: HeaderValue,
    pub(super) trace: TraceContext,
    /// What the first request sent under this trace carries, until it does, and the span it names.
    traceparent: Option<HeaderValue>,
    pub(super) first_attempt: SpanId,
    /// The call's own place in the trace.
    pub(super) span: CallSpan,
    carried: Carried,
    id_is_the_requests: bool,
    trace_is_the_requests: bool,
}

/// Settles a call's ids: the request's own where they are good, else those of the call being served, else new ones.
///
/// `millis` is the time of day since 1970, asked only for a new id.
#[inline]
pub(super) fn settle(
    headers: &HeaderMap,
    served: Option<&Served>,
    rng: &mut fastrand::Rng,
    millis: impl FnOnce() -> u64,
) -> Settled {
    let carried = Carried::by(headers);
    let (trace, trace_is_the_requests) = trace(headers, carried, served, rng);
    let first_attempt = SpanId::random(rng);
    let traceparent = trace.traceparent(first_attempt);
    let own = if carried.id { only(headers.get_all(CORRELATION_ID)).filter(|id| is_good(id.as_bytes())) } else { None };
    let (correlation_id, traceparent) = match own.or(served.map(|served| &served.correlation_id)) {
        Some(id) => (id.clone(), header(Bytes::copy_from_slice(&traceparent))),
        None => {
            // One allocation for both.
            let mut both = [0; BOTH];
            new_uuid(&mut both[..UUID], millis(), rng);
            both[UUID..].copy_from_slice(&traceparent);
            let mut both = Bytes::from_owner(both);
            let traceparent = both.split_off(UUID);
            (header(both), header(traceparent))
        }
    };
    let id_is_the_requests = own.is_some();
    let starts_here = !trace_is_the_requests && (carried.parent || served.is_none());
    let span = if starts_here {
        CallSpan { id: trace.parent, parent: None, begins_here: true }
    } else {
        let begins_here = !trace_is_the_requests && served.is_some_and(|served| served.begins_here);
        CallSpan { id: SpanId::random(rng), parent: Some(trace.parent), begins_here }
    };
    Settled {
        correlation_id,
        trace,
        traceparent: Some(traceparent),
        first_attempt,
        span,
        carried,
        id_is_the_requests,
        trace_is_the_requests,
    }
}

/// Which of the headers a request has. Most have none: looking at the names once costs less than asking for each.
#[derive(Clone, Copy, Default)]
struct Carried {
    id: bool,
    parent: bool,
    state: bool,
}

impl Carried {
    #[inline]
    fn by(headers: &HeaderMap) -> Self {
        let mut carried = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "x-correlation-id" => carried.id = true,
                "traceparent" => carried.parent = true,
                "tracestate" => carried.state = true,
                _ => {}
            }
        }
        carried
    }
}

impl Settled {
    /// Makes a request that goes out carry what was settled, and nothing else of the kind.
    #[inline]
    pub(super) fn send_in(&mut self, headers: &mut HeaderMap) {
        self.write_id(headers);
        if let Some(traceparent) = self.traceparent.take() {
            headers.insert(TRACEPARENT, traceparent);
        }
        if !self.trace_is_the_requests {
            if self.carried.state {
                headers.remove(TRACESTATE);
            }
            if let Some(state) = &self.trace.tracestate {
                headers.insert(TRACESTATE, state.clone());
            }
        }
    }

    /// Makes a request that came in safe to read and to forward: bad ids go; a good trace stays as its sender wrote it.
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        self.write_id(headers);
        if !self.trace_is_the_requests {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
    }

    #[inline]
    fn write_id(&self, headers: &mut HeaderMap) {
        if !self.id_is_the_requests {
            headers.insert(CORRELATION_ID, self.correlation_id.clone());
        }
    }
}

/// The time of day in the unit of a UUIDv7; a clock before 1970 reads as 1970.
#[inline]
pub(super) fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// The call's trace, and whether it is the one that the headers name.
#[inline]
fn trace(
    headers: &HeaderMap,
    carried: Carried,
    served: Option<&Served>,
    rng: &mut fastrand::Rng,
) -> (TraceContext, bool) {
    if !carried.parent {
        return (served.map_or_else(|| TraceContext::start(rng), |served| served.trace.clone()), false);
    }
    match only(headers.get_all(TRACEPARENT)).map(|header| TraceContext::parse(header.as_bytes())) {
        Some(Ok(trace)) => {
            let tracestate = if carried.state { tracestate(headers) } else { None };
            (TraceContext { tracestate, ..trace }, true)
        }
        _ => (TraceContext::start(rng), false),
    }
}

/// The vendors' list in one header: a sender may split it over several, in order.
fn tracestate(headers: &HeaderMap) -> Option<HeaderValue> {
    if let Some(one) = only(headers.get_all(TRACESTATE)) {
        return Some(one.clone());
    }
    let parts: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
    if parts.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&parts.join(&b","[..])).ok()
}

/// The header's value when there is exactly one.
fn only(values: GetAll<'_, HeaderValue>) -> Option<&HeaderValue> {
    let mut values = values.into_iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn is_good(id: &[u8]) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[inline]
fn new_uuid(out: &mut [u8], millis: u64, rng: &mut fastrand::Rng) {
    let random = rng.u128(..).to_ne_bytes();
    let mut ten = [0; 10];
    ten.copy_from_slice(&random[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &ten).into_uuid().hyphenated().encode_lower(out);
}

/// Only called with letters, digits and dashes, which every header takes.
#[inline]
fn header(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests;
