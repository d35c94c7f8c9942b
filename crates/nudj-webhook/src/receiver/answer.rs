//! What the sender is told. Never why a signature was refused: that would help to guess.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode, Version};
use http_body_util::Full;

use crate::counters::{Counter, Counters};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Duplicate,
    NotAnEvent,
    Unauthorized,
    WrongMethod,
    TimedOut,
    TooLarge,
    Unavailable,
}

impl Answer {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::Accepted => (StatusCode::OK, r#"{"status":"accepted"}"#),
            Self::Duplicate => (StatusCode::OK, r#"{"status":"duplicate"}"#),
            Self::NotAnEvent => (StatusCode::BAD_REQUEST, r#"{"error":"the body is not an event"}"#),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, r#"{"error":"not authenticated"}"#),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"only POST"}"#),
            Self::TimedOut => (StatusCode::REQUEST_TIMEOUT, r#"{"error":"the body took too long"}"#),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"error":"the body is too large"}"#),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"come again later"}"#),
        }
    }

    pub(super) fn counter(self, counters: &Counters) -> &Counter {
        match self {
            Self::Accepted => &counters.accepted,
            Self::Duplicate => &counters.duplicate,
            Self::NotAnEvent => &counters.not_an_event,
            Self::Unauthorized => &counters.unauthorized,
            Self::WrongMethod => &counters.wrong_method,
            Self::TimedOut => &counters.timed_out,
            Self::TooLarge => &counters.too_large,
            Self::Unavailable => &counters.unavailable,
        }
    }

    pub(super) fn response(self, version: Version) -> Response<Full<Bytes>> {
        let (status, text) = self.parts();
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Unavailable => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("5"))),
            Self::WrongMethod => drop(headers.insert(ALLOW, HeaderValue::from_static("POST"))),
            _ => {}
        }
        // The rest of a body that nobody reads must not come either. HTTP/2 has no such header; it resets the stream.
        if !status.is_success() && version <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
