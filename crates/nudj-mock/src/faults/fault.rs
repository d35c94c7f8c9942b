//! A fault as a test writes it down.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{pattern::Pattern, quota::Quota};

/// A fault, and when it strikes. Hand it to [`Control::inject`](crate::Control::inject).
///
/// A fault matches every request of every instance until it is narrowed by [`on`](Fault::on), [`path`](Fault::path),
/// [`instance`](Fault::instance), [`after`](Fault::after), [`times`](Fault::times) or [`probability`](Fault::probability).
///
/// Faults are asked in the order in which they were injected. Latencies add up; the first fault that decides what happens to a
/// request (a status, an answer, a closed connection, a lost or missing answer, a truncated or dripping body) is the last one asked, and
/// only faults that had an effect count as [`fired`](crate::Control::fired).
///
/// ```
/// use std::time::Duration;
/// use http::Method;
/// use nudj_mock::Fault;
///
/// // Two failures for reads of a user at the second instance, then as usual.
/// let sick = Fault::statuses([503, 503, 200]).on(Method::GET, "/api/v2/admin/users/{id}").instance(1);
/// // One answer in twenty never arrives, though the request had its effect.
/// let lossy = Fault::lost_answer().probability(0.05, 42);
/// // The server's own limit, with the header that tells when to come back.
/// let quota = Fault::quota(100, Duration::from_secs(1));
/// ```
#[derive(Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    pub(crate) pattern: Pattern,
    pub(crate) instance: Option<usize>,
    pub(crate) skip: u64,
    pub(crate) times: Option<u64>,
    pub(crate) chance: Option<(f64, fastrand::Rng)>,
    pub(crate) effect: Effect,
    pub(crate) headers: HeaderMap,
    pub(crate) retry_after: Option<RetryAfter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    Seconds(u64),
    /// As an HTTP-date, so far from the mock's clock at the time of the answer.
    Date(Duration),
}

#[derive(Debug)]
pub(crate) enum Effect {
    /// One status per request; `None` lets the request through.
    Statuses(std::collections::VecDeque<Option<StatusCode>>),
    Answer(Canned),
    Latency(Duration),
    Hang,
    Close,
    LostAnswer,
    Unanswered,
    Truncate(usize),
    Drip {
        chunk: usize,
        every: Duration,
    },
    Headers,
    Quota {
        quota: Quota,
        announce: bool,
    },
}

/// An answer that is not made by the API.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Payload,
}

/// A body: bytes, or so many bytes of filler, made as they are read.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    Filler(u64),
}

/// A status code as a test writes it. What is not a final status (100 to 199, or outside 100..=999) becomes 500.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self {
            pattern: Pattern::ANY,
            instance: None,
            skip: 0,
            times: None,
            chance: None,
            effect,
            headers: HeaderMap::new(),
            retry_after: None,
        }
    }

    /// Answers one matching request after the other with these statuses, in the documented error envelope. A 2xx lets its
    /// request through to the API. After the last one the fault is spent.
    ///
    /// What is not a final HTTP status becomes 500.
    pub fn statuses(codes: impl IntoIterator<Item = u16>) -> Self {
        let step = |code| Some(status(code)).filter(|status| !status.is_success());
        Self::new(Effect::Statuses(codes.into_iter().map(step).collect()))
    }

    /// Answers every matching request with this status in the documented error envelope (a 2xx with `{}`), until removed or limited
    /// by [`times`](Fault::times). The request has no effect.
    pub fn status(code: u16) -> Self {
        let status = status(code);
        Self::new(Effect::Answer(Canned { status, content_type: None, body: Payload::Bytes(Bytes::new()) }))
    }

    /// Answers with exactly this body and content type: malformed JSON, a compressed bomb, a login page.
    pub fn answer(code: u16, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let body = Payload::Bytes(body.into());
        Self::new(Effect::Answer(Canned { status: status(code), content_type: Some(content_type), body }))
    }

    /// Answers as a proxy in front of the API would: this status and a page of HTML.
    pub fn html(code: u16) -> Self {
        let status = status(code);
        let page = format!(
            "<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>\n"
        );
        Self::answer(code, HeaderValue::from_static("text/html"), page)
    }

    /// Answers 200 with a body of `bytes` bytes of filler, or to HEAD with that length alone. A socket streams it without holding it
    /// in memory; a [`MockService`](crate::MockService) gives at most 64 MiB.
    pub fn huge_body(bytes: u64) -> Self {
        let content_type = Some(HeaderValue::from_static("application/json"));
        Self::new(Effect::Answer(Canned { status: StatusCode::OK, content_type, body: Payload::Filler(bytes) }))
    }

    /// Waits before the request is looked at, in tokio time. A client that goes away meanwhile takes its request with it, which then
    /// has no effect.
    pub fn latency(delay: Duration) -> Self {
        Self::new(Effect::Latency(delay))
    }

    /// Takes the request and never answers. The request has no effect.
    pub fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Closes the connection, with every HTTP/2 stream on it, in place of an answer. The request has no effect.
    pub fn close() -> Self {
        Self::new(Effect::Close)
    }

    /// Executes the request, then closes the connection, with every HTTP/2 stream on it, in place of the answer.
    pub fn lost_answer() -> Self {
        Self::new(Effect::LostAnswer)
    }

    /// Executes the request and never answers.
    pub fn unanswered() -> Self {
        Self::new(Effect::Unanswered)
    }

    /// Executes the request and sends the first `bytes` bytes of the body under the full `content-length`, then closes the
    /// connection; over HTTP/2 it resets the stream, and the others on the connection go on. A body that is not longer than that is
    /// cut by its last byte; an empty one is not cut.
    pub fn truncated(bytes: usize) -> Self {
        Self::new(Effect::Truncate(bytes))
    }

    /// Executes the request and sends the body in pieces of `chunk` bytes (at least 1), waiting `every` before each.
    pub fn drip(chunk: usize, every: Duration) -> Self {
        Self::new(Effect::Drip { chunk: chunk.max(1), every })
    }

    /// Adds [`header`](Fault::header)s to answers, whoever made them.
    pub fn headers() -> Self {
        Self::new(Effect::Headers)
    }

    /// A server-side quota: more than `requests` in any `window` are answered 429 with `Retry-After` in whole seconds,
    /// rounded up. It is shared by the instances that the fault covers. Refused requests take no quota.
    pub fn quota(requests: u32, window: Duration) -> Self {
        Self::new(Effect::Quota { quota: Quota::new(requests, window), announce: false })
    }

    /// For a [`quota`](Fault::quota): also sends `ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` (whole seconds until the
    /// next place comes back, rounded up) with every answer.
    /// Does nothing to other faults.
    pub fn announced(mut self) -> Self {
        if let Effect::Quota { announce, .. } = &mut self.effect {
            *announce = true;
        }
        self
    }

    /// Only requests with this method and path pattern. `{id}` or `*` stands for one segment, `**` at the end for the rest.
    pub fn on(mut self, method: Method, path: &str) -> Self {
        self.pattern = Pattern::new(Some(method), path);
        self
    }

    /// Only requests with this path pattern, whatever the method.
    pub fn path(mut self, path: &str) -> Self {
        self.pattern = Pattern::new(None, path);
        self
    }

    /// Only requests that arrive at this instance, counted from 0.
    pub fn instance(mut self, index: usize) -> Self {
        self.instance = Some(index);
        self
    }

    /// Lets the first `requests` matching requests go by.
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Strikes at most so many times.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes a matching request with this probability (0.0 to 1.0), drawn from a generator of its own with this seed.
    pub fn probability(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, fastrand::Rng::with_seed(seed)));
        self
    }

    /// Sends `Retry-After` in whole seconds, rounded up, with the answers this fault makes.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(RetryAfter::Seconds(whole_seconds(wait)));
        self
    }

    /// Sends `Retry-After` as an HTTP-date, `wait` from the mock's clock, with the answers this fault makes.
    pub fn retry_after_date(mut self, wait: Duration) -> Self {
        self.retry_after = Some(RetryAfter::Date(wait));
        self
    }

    /// Sends this header with the answers this fault makes or touches, in place of one with the same name. May be called several
    /// times, also for several values of one name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sends a redirect: this 3xx status and `location`.
    pub fn redirect(code: u16, location: HeaderValue) -> Self {
        Self::answer(code, HeaderValue::from_static("text/plain"), Bytes::new()).header(header::LOCATION, location)
    }
}

pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}
