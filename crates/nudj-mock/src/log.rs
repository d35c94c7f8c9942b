//! What arrived, kept within bounds.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};
use tokio::time::Instant;

use crate::faults::Pattern;

/// What one header takes besides its text: name and value as they are kept, and about as much as the map's own links to them.
const PER_HEADER: usize = size_of::<HeaderName>() + size_of::<HeaderValue>() + 32;

/// How much of what arrived is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    pub(crate) requests: usize,
    /// Of one body.
    pub(crate) body_bytes: usize,
    /// Of all requests together, heads and what holds them included.
    pub(crate) total_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { requests: 10_000, body_bytes: 64 * 1024, total_bytes: 16 * 1024 * 1024 }
    }
}

/// One request as it arrived.
///
/// `Debug` shows neither credentials nor the body.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// Counts all requests from 0, those no longer kept included.
    pub sequence: u64,
    /// Which instance it arrived at, from 0.
    pub instance: usize,
    /// The method.
    pub method: Method,
    /// The path as sent, percent-encoding untouched.
    pub path: String,
    /// The query as sent, without the `?`.
    pub query: Option<String>,
    /// The headers. Credentials are marked sensitive, so they don't show in `Debug`, but can be read.
    pub headers: HeaderMap,
    /// The body, cut at the log's limit for one body (64 KiB unless set otherwise).
    pub body: Bytes,
    /// How long the body was before that cut.
    pub body_len: usize,
    /// When it had arrived in full.
    pub at: Instant,
    /// What was answered; `None` while no answer was made, or when a fault closed the connection in its place.
    pub answered: Option<StatusCode>,
}

impl RecordedRequest {
    /// The value of a header, when it is there and readable.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `None` when it is none (or was cut).
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("sequence", &self.sequence)
            .field("instance", &self.instance)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("headers", &self.headers)
            .field("body_len", &self.body_len)
            .field("answered", &self.answered)
            .finish_non_exhaustive()
    }
}

/// The requests that the mock still remembers, to be narrowed and counted. From [`Control::received`](crate::Control::received).
#[derive(Debug, Clone)]
pub struct Received(Vec<RecordedRequest>);

impl Received {
    pub(crate) fn new(requests: Vec<RecordedRequest>) -> Self {
        Self(requests)
    }

    /// How many there are with this method and path pattern (patterns as for [`Fault::on`](crate::Fault::on)).
    #[must_use]
    pub fn count(&self, method: Method, path: &str) -> usize {
        let pattern = Pattern::new(Some(method), path);
        self.0.iter().filter(|request| pattern.matches(&request.method, &request.path)).count()
    }

    /// Only those with this method and path pattern.
    #[must_use]
    pub fn on(mut self, method: Method, path: &str) -> Self {
        let pattern = Pattern::new(Some(method), path);
        self.0.retain(|request| pattern.matches(&request.method, &request.path));
        self
    }

    /// Only those that arrived at this instance.
    #[must_use]
    pub fn at_instance(mut self, index: usize) -> Self {
        self.0.retain(|request| request.instance == index);
        self
    }

    /// All that are left, oldest first.
    #[must_use]
    pub fn all(&self) -> &[RecordedRequest] {
        &self.0
    }

    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct RequestLog {
    limits: LogLimits,
    kept: VecDeque<RecordedRequest>,
    bytes: usize,
    total: u64,
}

impl RequestLog {
    pub(crate) fn new(limits: LogLimits) -> Self {
        Self { limits, kept: VecDeque::new(), bytes: 0, total: 0 }
    }

    /// Notes a request and gives its sequence number.
    pub(crate) fn record(&mut self, instance: usize, head: &request::Parts, body: &Bytes, now: Instant) -> u64 {
        let sequence = self.total;
        self.total = self.total.wrapping_add(1);
        if self.limits.requests == 0 {
            return sequence;
        }
        let body_len = body.len();
        let request = RecordedRequest {
            sequence,
            instance,
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: Uri::query(&head.uri).map(str::to_owned),
            headers: copied(&head.headers),
            // Copied, not sliced: a slice would keep all of a large body in memory, or all of what was read with a small one.
            body: Bytes::copy_from_slice(body.get(..self.limits.body_bytes).unwrap_or(body)),
            body_len,
            at: now,
            answered: None,
        };
        self.bytes = self.bytes.saturating_add(size(&request));
        self.kept.push_back(request);
        while self.kept.len() > self.limits.requests || (self.bytes > self.limits.total_bytes && self.kept.len() > 1) {
            let Some(gone) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size(&gone));
        }
        sequence
    }

    pub(crate) fn answered(&mut self, sequence: u64, status: StatusCode) {
        let Some(first) = self.kept.front() else { return };
        let index = usize::try_from(sequence.wrapping_sub(first.sequence)).unwrap_or(usize::MAX);
        if let Some(request) = self.kept.get_mut(index) {
            request.answered = Some(status);
        }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.kept.iter().cloned().collect()
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

/// What a request weighs: its text, and what holds it.
fn size(request: &RecordedRequest) -> usize {
    let headers = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + PER_HEADER);
    let line = request.path.len() + request.query.as_ref().map_or(0, String::len);
    let whole = size_of::<RecordedRequest>().saturating_add(line).saturating_add(request.body.len());
    headers.fold(whole, usize::saturating_add)
}

/// The same headers, credentials hidden. The values are copies: as they arrive they are slices of the connection's read buffer,
/// and one of them would keep all of it.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let mut copied = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        // What was a value is one again.
        let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
        let secret = name == "x-api-token" || name == header::AUTHORIZATION || name == header::COOKIE;
        copy.set_sensitive(secret || value.is_sensitive());
        copied.append(name.clone(), copy);
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(path: &str) -> request::Parts {
        http::Request::get(path).header("x-api-token", "canary").body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_log_forgets_the_oldest_and_goes_on_counting() {
        let limits = LogLimits { requests: 3, body_bytes: 4, total_bytes: 10_000 };
        let mut log = RequestLog::new(limits);
        for n in 0..10_u8 {
            assert_eq!(log.record(0, &head("/a?b=1"), &Bytes::from(vec![n; 8]), Instant::now()), u64::from(n));
        }
        log.answered(2, StatusCode::OK);
        log.answered(8, StatusCode::CREATED);
        let kept = log.requests();
        assert_eq!(kept.iter().map(|kept| kept.sequence).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(kept[1].answered, Some(StatusCode::CREATED));
        assert_eq!((kept[0].answered, kept[0].query.as_deref()), (None, Some("b=1")));
        assert_eq!((kept[2].body.as_ref(), kept[2].body_len), (&[9, 9, 9, 9][..], 8));
        assert_eq!(log.total(), 10);
    }

    #[test]
    fn requests_together_stay_within_their_limit() {
        // 100 of the body, 17 of the header, 1 of the path.
        let one = 118 + PER_HEADER + size_of::<RecordedRequest>();
        let mut log = RequestLog::new(LogLimits { requests: 100, body_bytes: 100, total_bytes: one * 2 + 14 });
        for _ in 0..10 {
            log.record(0, &head("/"), &Bytes::from_static(&[0; 100]), Instant::now());
        }
        assert_eq!((log.requests().len(), log.bytes), (2, one * 2));
        log.record(0, &head(&format!("/{}", "x".repeat(one * 3))), &Bytes::new(), Instant::now());
        assert_eq!(log.requests().len(), 1);
    }

    #[test]
    fn what_a_request_needs_besides_its_text_counts_too() {
        let mut log = RequestLog::new(LogLimits { total_bytes: 10_000, ..LogLimits::default() });
        for _ in 0..100 {
            let mut head = head("/");
            head.headers
                .extend((0..50).map(|n| (HeaderName::try_from(format!("a{n}")).unwrap(), HeaderValue::from(n))));
            log.record(0, &head, &Bytes::new(), Instant::now());
        }
        let values = log.requests().iter().map(|kept| kept.headers.len()).sum::<usize>();
        assert!(values * size_of::<HeaderValue>() <= 10_000, "{values}");
    }

    /// A connection's read buffer is many times the size of one header, and every header is a slice of it.
    #[test]
    fn a_kept_request_holds_on_to_no_read_buffer() {
        let buffer = Bytes::from(b"canary, then a body".repeat(1000));
        let value = HeaderValue::from_maybe_shared(buffer.slice(..6)).unwrap();
        let (mut log, body) = (RequestLog::new(LogLimits::default()), buffer.slice(14..19));
        let head = http::Request::get("/").header("x-api-token", &value).header("accept", value).body(()).unwrap();
        log.record(0, &head.into_parts().0, &body, Instant::now());
        drop(body);
        assert!(buffer.is_unique());
        let kept = log.requests();
        assert_eq!((kept[0].header("accept"), &kept[0].body[..]), (Some("canary"), &b" body"[..]));
        assert!(kept[0].headers["x-api-token"].is_sensitive() && !kept[0].headers["accept"].is_sensitive());
    }

    #[test]
    fn credentials_can_be_read_but_do_not_show() {
        let mut log = RequestLog::new(LogLimits::default());
        log.record(0, &head("/"), &Bytes::new(), Instant::now());
        let kept = log.requests();
        assert_eq!(kept[0].header("x-api-token"), Some("canary"));
        assert!(!format!("{kept:?}").contains("canary"));
    }
}
