use std::{error::Error, time::SystemTime};

use http::{HeaderMap, Method, Response, StatusCode};

use super::{Cause, Classify, Resend, TransportError, Verdict, retry_after};
use crate::{CallContext, HttpRequest, Rejection};

/// The header that makes an unsafe request safe to repeat
/// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
pub const IDEMPOTENCY_KEY: http::HeaderName = http::HeaderName::from_static("idempotency-key");

/// The classifier for HTTP.
///
/// | end | outcome | may be sent again |
/// |---|---|---|
/// | 2xx, 3xx, 4xx but the below | success | no |
/// | 408, 425 | failure, success | if idempotent |
/// | 429 | throttled | yes |
/// | 500, 502, 504 | failure | if idempotent |
/// | 503 | failure | if idempotent; with Retry-After yes |
/// | other 5xx, and what RFC 9110 does not know, from 600 on | failure | no |
/// | connect error, refused connection | failure | yes |
/// | attempt timeout, broken exchange, unknown error | failure | if idempotent |
/// | answer too large, request that cannot be sent, no credential or idempotency key to be had | ignored | no |
/// | refused by an open breaker | ignored | only on another endpoint |
/// | refused by limiter, queue, deadline | ignored | no |
///
/// Whatever may be sent again is not before a Retry-After that came with it.
///
/// A refused connection is a [`std::io::Error`] of kind `ConnectionRefused` that the service below gives as it is: such a service must not have sent
/// the request by then. One that connects elsewhere as well, to a log say, wraps what fails there, since the request is sent again else, a POST too.
///
/// Idempotent are the methods RFC 9110 says so (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) and whatever carries an
/// `Idempotency-Key`.
#[derive(Clone, Copy, Debug)]
pub struct Http<R = NoRule> {
    rule: R,
    wall_clock: fn() -> SystemTime,
}

/// The status and headers of an answer, whatever its body is.
#[derive(Clone, Copy, Debug)]
pub struct Head<'r> {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: &'r HeaderMap,
}

/// A rule asked before the table of [`Http`]; `None` means no opinion. Any closure of this shape is one.
pub trait Rule {
    /// The verdict, or no opinion.
    fn verdict(&self, answer: Result<Head<'_>, &(dyn Error + 'static)>) -> Option<Verdict>;
}

/// No rule of one's own: the table holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRule;

impl Rule for NoRule {
    fn verdict(&self, _: Result<Head<'_>, &(dyn Error + 'static)>) -> Option<Verdict> {
        None
    }
}

impl<F> Rule for F
where
    F: Fn(Result<Head<'_>, &(dyn Error + 'static)>) -> Option<Verdict>,
{
    fn verdict(&self, answer: Result<Head<'_>, &(dyn Error + 'static)>) -> Option<Verdict> {
        self(answer)
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { rule: NoRule, wall_clock }
    }
}

impl Http {
    /// Asks `rule` before the table.
    #[must_use]
    pub fn first<R>(self, rule: R) -> Http<R>
    where
        R: Fn(Result<Head<'_>, &(dyn Error + 'static)>) -> Option<Verdict>,
    {
        Http { rule, wall_clock: self.wall_clock }
    }
}

impl<R> Http<R> {
    /// Reads the time of day for Retry-After dates here instead of from the system.
    #[must_use]
    pub fn wall_clock(mut self, wall_clock: fn() -> SystemTime) -> Self {
        self.wall_clock = wall_clock;
        self
    }

    #[inline]
    fn status_verdict(&self, head: Head<'_>) -> Verdict {
        if head.status.as_u16() < 400 { Verdict::success() } else { self.error_status_verdict(head) }
    }

    fn error_status_verdict(&self, head: Head<'_>) -> Verdict {
        let asked = || retry_after::find(head.headers, self.wall_clock);
        match head.status.as_u16() {
            408 | 500 | 502 | 504 => Verdict::failure().retry_after(asked()),
            425 => Verdict::success().resend(Resend::IfIdempotent).retry_after(asked()),
            429 => Verdict::throttled().retry_after(asked()),
            503 => match asked() {
                Some(wait) => Verdict::failure().resend(Resend::Refused).retry_after(Some(wait)),
                None => Verdict::failure(),
            },
            // An unknown class is to be taken as 5xx (RFC 9110, section 15).
            501 | 505.. => Verdict::failure().resend(Resend::Never),
            _ => Verdict::success(),
        }
    }
}

impl<R: Rule, Q: HttpRequest, T> Classify<Q, Response<T>> for Http<R> {
    fn classify(&self, result: Result<&Response<T>, &(dyn Error + 'static)>) -> Verdict {
        let answer = result.map(|response| Head { status: response.status(), headers: response.headers() });
        self.rule.verdict(answer).unwrap_or_else(|| match answer {
            Ok(head) => self.status_verdict(head),
            Err(error) => error_verdict(error),
        })
    }

    fn context<'r>(&self, request: &'r Q) -> Option<&'r CallContext> {
        request.context()
    }

    fn is_idempotent(&self, request: &Q) -> bool {
        is_idempotent(request.method()) || request.headers().contains_key(IDEMPOTENCY_KEY)
    }

    fn carries_context(&self) -> bool {
        true
    }

    fn attach(&self, request: &mut Q, context: &CallContext) {
        request.set_context(context);
    }

    fn method<'r>(&self, request: &'r Q) -> Option<&'r Method> {
        Some(request.method())
    }

    fn status(&self, response: &Response<T>) -> Option<StatusCode> {
        Some(response.status())
    }

    fn headers<'r>(&self, response: &'r Response<T>) -> Option<&'r HeaderMap> {
        Some(response.headers())
    }
}

/// By RFC 9110, section 9.2.2; `Method::is_idempotent` says the same, and counts TRACE.
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

fn error_verdict(error: &(dyn Error + 'static)) -> Verdict {
    cause_verdict(error).or_else(|| hyper_util_verdict(error)).unwrap_or_else(Verdict::failure)
}

/// What one of our errors means; `None` where there is none of ours.
pub(super) fn cause_verdict(error: &(dyn Error + 'static)) -> Option<Verdict> {
    Some(match Cause::of(error) {
        Cause::Rejection(rejection) => match rejection {
            Rejection::AttemptTimeout { .. } => Verdict::failure(),
            Rejection::CircuitOpen { retry_after, .. } => {
                Verdict::ignored().resend(Resend::Elsewhere).retry_after(*retry_after)
            }
            other => Verdict::ignored().retry_after(other.retry_after()),
        },
        Cause::Transport(error) => match error {
            TransportError::Connect(_) | TransportError::Unsent(_) => Verdict::failure().resend(Resend::NotSent),
            TransportError::Busy(_) => Verdict::ignored().resend(Resend::Elsewhere),
            TransportError::Exchange(_) => Verdict::failure(),
            TransportError::BodyTooLarge { .. } | TransportError::InvalidRequest(_) | TransportError::Closed(_) => {
                Verdict::ignored()
            }
        },
        // It says nothing about the API, and its provider has a backoff of its own.
        #[cfg(feature = "credentials")]
        Cause::Credential(_) => Verdict::ignored(),
        // Nor does this: the store was asked, and the API was not.
        #[cfg(feature = "idempotency")]
        Cause::Key(_) => Verdict::ignored(),
        Cause::Refused(_) => Verdict::failure().resend(Resend::NotSent),
        Cause::Other => return None,
    })
}

#[cfg(feature = "hyper-util")]
fn hyper_util_verdict(error: &(dyn Error + 'static)) -> Option<Verdict> {
    let error = super::find_in_chain::<hyper_util::client::legacy::Error>(error)?;
    Some(if error.is_connect() { Verdict::failure().resend(Resend::NotSent) } else { Verdict::failure() })
}

#[cfg(not(feature = "hyper-util"))]
fn hyper_util_verdict(_: &(dyn Error + 'static)) -> Option<Verdict> {
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the time of day: for HTTP-dates, reset times and UUIDv7"
)]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The time of day as what has passed since 1970; a clock before that reads as 1970.
#[cfg(any(feature = "correlation", feature = "idempotency"))]
pub(crate) fn since_1970() -> std::time::Duration {
    wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;

    use super::*;
    use crate::classify::{Any, Outcome, error_kind};

    fn verdict(result: Result<&Response<()>, &(dyn Error + 'static)>) -> Verdict {
        Classify::<Request<()>, _>::classify(&Http::default(), result)
    }

    #[test]
    fn the_table_of_statuses_holds() {
        use Outcome::{Failure, Success, Throttled};
        use Resend::{IfIdempotent, Never};
        for (status, outcome, resend) in [
            (200, Success, Never),
            (204, Success, Never),
            (302, Success, Never),
            (400, Success, Never),
            (401, Success, Never),
            (404, Success, Never),
            (408, Failure, IfIdempotent),
            (425, Success, IfIdempotent),
            (429, Throttled, Resend::Refused),
            (500, Failure, IfIdempotent),
            (501, Failure, Never),
            (502, Failure, IfIdempotent),
            (503, Failure, IfIdempotent),
            (504, Failure, IfIdempotent),
            (507, Failure, Never),
            (600, Failure, Never),
            (999, Failure, Never),
        ] {
            let response = Response::builder().status(status).body(()).unwrap();
            let seen = verdict(Ok(&response));
            assert_eq!((seen.outcome, seen.resend), (outcome, resend), "{status}");
        }
    }

    #[test]
    fn a_503_that_names_a_time_did_nothing() {
        let response = Response::builder().status(503).header("retry-after", "9").body(()).unwrap();
        let seen = verdict(Ok(&response));
        assert_eq!((seen.resend, seen.retry_after), (Resend::Refused, Some(Duration::from_secs(9))));
    }

    #[test]
    fn whatever_may_be_sent_again_is_not_before_the_time_that_the_server_names() {
        for (status, resend) in [
            (408, Resend::IfIdempotent),
            (425, Resend::IfIdempotent),
            (429, Resend::Refused),
            (500, Resend::IfIdempotent),
            (502, Resend::IfIdempotent),
            (503, Resend::Refused),
            (504, Resend::IfIdempotent),
        ] {
            let response = Response::builder().status(status).header("retry-after", "9").body(()).unwrap();
            let seen = verdict(Ok(&response));
            assert_eq!((seen.resend, seen.retry_after), (resend, Some(Duration::from_secs(9))), "{status}");
        }
    }

    #[test]
    fn a_refused_connection_that_comes_as_it_is_was_never_sent() {
        use std::io::{Error, ErrorKind};
        let refused: crate::BoxError = Error::new(ErrorKind::ConnectionRefused, "nobody listens").into();
        assert_eq!(verdict(Err(&*refused)), Verdict::failure().resend(Resend::NotSent));
        assert_eq!(Classify::<(), ()>::classify(&Any, Err(&*refused)), Verdict::failure().resend(Resend::NotSent));
        assert_eq!(error_kind(&*refused), "connect");
        // Of what it is about deeper down nothing is known: a server's own call, say, of which the answer was to tell.
        let deep = Error::other(refused);
        assert_eq!((verdict(Err(&deep)), error_kind(&deep)), (Verdict::failure(), "_OTHER"));
        let reset = Error::from(ErrorKind::ConnectionReset);
        assert_eq!((verdict(Err(&reset)), error_kind(&reset)), (Verdict::failure(), "_OTHER"));
    }

    #[test]
    fn errors_are_read_through_their_sources() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] crate::BoxError);
        let connect = Outer(TransportError::Connect("refused".into()).into());
        assert_eq!(verdict(Err(&connect)), Verdict::failure().resend(Resend::NotSent));
        let unsent = Outer(TransportError::Unsent("the connection was dead".into()).into());
        assert_eq!(verdict(Err(&unsent)), Verdict::failure().resend(Resend::NotSent));
        let busy = Outer(TransportError::Busy("256 calls wait".into()).into());
        assert_eq!(verdict(Err(&busy)), Verdict::ignored().resend(Resend::Elsewhere));
        let closed = Outer(TransportError::Closed("shut down".into()).into());
        assert_eq!(verdict(Err(&closed)), Verdict::ignored());
        let invalid = Outer(TransportError::InvalidRequest("no path".into()).into());
        assert_eq!(verdict(Err(&invalid)), Verdict::ignored());
        let too_large = Outer(TransportError::BodyTooLarge { limit: 1 }.into());
        assert_eq!(verdict(Err(&too_large)), Verdict::ignored());
        let wait = Some(Duration::from_secs(3));
        let open = Outer(Rejection::CircuitOpen { endpoint: None, retry_after: wait }.into());
        assert_eq!(verdict(Err(&open)), Verdict::ignored().resend(Resend::Elsewhere).retry_after(wait));
        let timeout = Outer(Rejection::AttemptTimeout { limit: Duration::ZERO }.into());
        assert_eq!(verdict(Err(&timeout)), Verdict::failure());
        #[cfg(feature = "credentials")]
        for cause in [
            Outer(TransportError::Connect("refused".into()).into()),
            Outer(Rejection::AttemptTimeout { limit: Duration::ZERO }.into()),
            Outer(Rejection::CircuitOpen { endpoint: None, retry_after: wait }.into()),
        ] {
            let source = std::sync::Arc::new(cause) as std::sync::Arc<dyn Error + Send + Sync>;
            let none = Outer(crate::credentials::CredentialError::Fetch { provider: "vault".into(), source }.into());
            assert_eq!(verdict(Err(&none)), Verdict::ignored(), "another call's end: {none:?}");
            assert_eq!(Classify::<(), ()>::classify(&Any, Err(&none)), Verdict::ignored());
            assert_eq!((error_kind(&none), Rejection::find(&none)), ("auth", None));
        }
        let unknown = std::io::Error::other("?");
        assert_eq!(verdict(Err(&unknown)), Verdict::failure());
    }

    #[test]
    fn a_post_with_a_key_is_as_good_as_a_put() {
        let asks = |method: Method, key: bool| {
            let mut request = Request::builder().method(method);
            if key {
                request = request.header(IDEMPOTENCY_KEY, "k");
            }
            Classify::<_, Response<()>>::is_idempotent(&Http::default(), &request.body(()).unwrap())
        };
        assert!(asks(Method::GET, false) && asks(Method::PUT, false) && asks(Method::DELETE, false));
        assert!(!asks(Method::POST, false) && !asks(Method::PATCH, false) && asks(Method::POST, true));
    }
}
