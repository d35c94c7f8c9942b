//! What a call that failed says.

mod said;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use http::{HeaderValue, Response, StatusCode};
use nudj_tower::{
    BoxError, CallContext, Rejection,
    classify::{Cause, TransportError, find_in_chain, retry_after},
    credentials::CredentialError,
};
use serde_json::Value;

pub(crate) use self::said::shown;
use self::said::{status_text, text_at};
use crate::credentials::ProviderError;

/// A call that failed, or a client that could not be built.
///
/// Built once, at the top of the stack, with what the whole call knows: how many tries there were, at which endpoint, under
/// which correlation id. The text never holds a token, a body or a query; of what the API says of an error it holds the message and the
/// code, each cut at 500 characters and without control characters; [`kind`](Self::kind) holds up to 4 KiB of each, as they came.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    endpoint: Option<Arc<str>>,
    attempts: u32,
    in_doubt: bool,
    correlation_id: Option<HeaderValue>,
    last_status: Option<StatusCode>,
    retry_after: Option<Duration>,
    source: Option<BoxError>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Every endpoint's circuit is open; nothing was sent.
    #[error("circuit open: too many recent calls failed")]
    CircuitOpen,
    /// Our own limiter refused; nothing was sent. An answer of 429 is [`ErrorKind::Status`].
    #[error("rate limited by our own limiter")]
    RateLimited,
    /// An attempt, or the whole call with its waits, took longer than it may.
    #[error("timed out")]
    Timeout,
    /// No connection could be made, or none took the request.
    #[error("could not connect")]
    Connect,
    /// All connections to the endpoint were in use, and too many calls waited for one or none came free in time; nothing was sent.
    #[error(
        "no connection was free; raise http.pool_max_per_host, over HTTP/2 http.pool_max_http2_per_host, or send less at once"
    )]
    Busy,
    /// The exchange broke off.
    #[error("transport failed")]
    Transport,
    /// The API answered with something other than success.
    #[error("{}", status_text(*.status, .code.as_deref(), .message.as_deref()))]
    Status {
        /// The answer's status.
        status: StatusCode,
        /// The API's code, `NOT_FOUND`; `None` when the body was not the documented envelope.
        code: Option<String>,
        /// The API's message, not localised; as `code` and `path`, no more than 4 KiB of it.
        message: Option<String>,
        /// The API's procedure name, `getUser`.
        path: Option<String>,
    },
    /// The answer is larger than `http.max_response_bytes`.
    #[error("the answer is larger than {limit} bytes; raise http.max_response_bytes if it should be")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer was a success but its body is not what was expected.
    #[error("the answer cannot be read: {problem}")]
    Decode {
        /// Where in the body and why, without its values.
        problem: String,
    },
    /// The credential is missing, could not be had, or was refused with 401.
    #[error("authentication failed: {problem}")]
    Auth {
        /// What to do about it.
        problem: String,
    },
    /// The [key store](crate::keys) gave no idempotency key for a request that needs one; nothing was sent, since without its key the request might be
    /// done twice.
    #[error("no idempotency key, so nothing was sent; see that the key store works, then call again")]
    IdempotencyKey,
    /// A configuration value or an argument is not usable.
    #[error("{field}: {problem}")]
    Config {
        /// The field or argument.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ErrorKind {
    /// The kind in one word, as `--json` prints it: `circuit_open`, `rate_limited`, `timeout`, `connect`, `busy`, `transport`, `status`,
    /// `body_too_large`, `decode`, `auth`, `idempotency_key`, `config`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Busy => "busy",
            Self::Transport => "transport",
            Self::Status { .. } => "status",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::Decode { .. } => "decode",
            Self::Auth { .. } => "auth",
            Self::IdempotencyKey => "idempotency_key",
            Self::Config { .. } => "config",
        }
    }
}

impl Error {
    fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            endpoint: None,
            attempts: 0,
            in_doubt: false,
            correlation_id: None,
            last_status: None,
            retry_after: None,
            source: None,
        }))
    }

    pub(crate) fn config(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config { field: field.into(), problem: problem.into() })
    }

    /// An argument or a setting that this program's user gave and that cannot be used.
    pub fn usage(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::config(field, problem)
    }

    pub(crate) fn auth(problem: impl Into<String>) -> Self {
        Self::new(ErrorKind::Auth { problem: problem.into() })
    }

    pub(crate) fn no_key(source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::IdempotencyKey).caused_by(source)
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the layers or the transport returned, in the client's terms.
    pub(crate) fn from_stack(error: BoxError, context: &CallContext) -> Self {
        let mut built = match error.downcast::<Self>() {
            Ok(own) => return own.in_context(context),
            Err(error) => Self::new(kind_of(&*error)).caused_by(error),
        };
        built.0.retry_after = built.source_as_rejection().and_then(Rejection::retry_after);
        built.in_context(context)
    }

    /// An answer that is no success.
    pub(crate) fn from_answer(answer: &Response<bytes::Bytes>, context: &CallContext) -> Self {
        let status = answer.status();
        // The documented envelope, read leniently: a field of another type takes no other with it.
        let envelope: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let (message, code, path) =
            (text_at(&envelope, "/message"), text_at(&envelope, "/code"), text_at(&envelope, "/data/path"));
        let kind = match status {
            StatusCode::UNAUTHORIZED => ErrorKind::Auth {
                problem: format!(
                    "{}; is the token valid and issued for this host's organisation?",
                    status_text(status, code.as_deref(), message.as_deref())
                ),
            },
            _ => ErrorKind::Status { status, code, message, path },
        };
        let mut built = Self::new(kind);
        built.0.last_status = Some(status);
        built.0.retry_after = retry_after(answer.headers(), wall_clock);
        built.in_context(context)
    }

    pub(crate) fn decode(problem: String, status: StatusCode, context: &CallContext) -> Self {
        let mut built = Self::new(ErrorKind::Decode { problem });
        built.0.last_status = Some(status);
        built.in_context(context)
    }

    fn in_context(mut self, context: &CallContext) -> Self {
        self.0.endpoint = context.endpoint();
        self.0.attempts = context.tries();
        self.0.in_doubt = context.is_in_doubt();
        self.0.correlation_id = context.correlation_id();
        if self.0.last_status.is_none() {
            self.0.last_status = context.last_status().and_then(|status| StatusCode::from_u16(status).ok());
        }
        self
    }

    fn source_as_rejection(&self) -> Option<&Rejection> {
        self.0.source.as_deref().and_then(|source| Rejection::find(source))
    }

    /// Why the call failed.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The last HTTP status that arrived, if any did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.last_status
    }

    /// The API's own code, such as `NOT_FOUND`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.0.kind {
            ErrorKind::Status { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// The endpoint that was tried last.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// How many times an endpoint was tried; 0 when the call was refused at once.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The id under which the call stands in every log.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_ref().and_then(|id| id.to_str().ok())
    }

    /// When to come again: what our own layers or the server said.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether a later call of the same kind may succeed without anything being changed: refusals, timeouts, broken exchanges,
    /// 408, 425, 429 and 5xx, a credential or an idempotency key that could not be had for now. For a call that creates something, look
    /// first whether it did.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let cause = self.0.source.as_deref().map(|source| Cause::of(source));
        match &self.0.kind {
            ErrorKind::CircuitOpen
            | ErrorKind::RateLimited
            | ErrorKind::Timeout
            | ErrorKind::Connect
            | ErrorKind::Busy
            | ErrorKind::Transport => !matches!(
                cause,
                // No later call is another request, and a client that was shut down stays so.
                Some(Cause::Transport(TransportError::InvalidRequest(_) | TransportError::Closed(_)))
            ),
            ErrorKind::IdempotencyKey => true,
            ErrorKind::Auth { .. } => match cause {
                Some(Cause::Credential(error)) => may_be_had_later(error),
                _ => false,
            },
            ErrorKind::Status { status, .. } => {
                matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            ErrorKind::BodyTooLarge { .. } | ErrorKind::Decode { .. } | ErrorKind::Config { .. } => false,
        }
    }

    /// Whether an attempt before the last one may have taken effect: it was sent, and its answer never came or was a 5xx. Whatever the last
    /// attempt ended in, a refusal or an answer that says no, the call may then have been done.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    /// Whether the request may have reached a server, by any of its attempts, so that its effect may exist.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        if self.0.in_doubt {
            return true;
        }
        match &self.0.kind {
            ErrorKind::CircuitOpen | ErrorKind::RateLimited | ErrorKind::Config { .. } => false,
            ErrorKind::Connect | ErrorKind::Busy | ErrorKind::IdempotencyKey => false,
            _ => match self.0.source.as_deref().map(|source| Cause::of(source)) {
                Some(Cause::Transport(error)) => error.was_sent(),
                Some(Cause::Rejection(rejection)) => rejection.was_sent(),
                Some(Cause::Credential(_)) => false,
                _ => self.0.attempts > 0,
            },
        }
    }
}

impl From<nudj_tower::ConfigError> for Error {
    fn from(error: nudj_tower::ConfigError) -> Self {
        Self::config(error.field(), error.problem())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        if let Some(wait) = self.0.retry_after {
            write!(f, "; try again in {wait:?}")?;
        }
        match (&self.0.endpoint, self.0.attempts) {
            (Some(endpoint), 1) => write!(f, " (at {endpoint})"),
            (Some(endpoint), attempts) if attempts > 1 => write!(f, " (at {endpoint}, {attempts} attempts)"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            // Cut: a server wrote a part of it.
            .field("kind", &format_args!("{}", shown(&format!("{:?}", self.0.kind))))
            .field("status", &self.0.last_status)
            .field("endpoint", &self.0.endpoint)
            .field("attempts", &self.0.attempts)
            .field("correlation_id", &self.0.correlation_id)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

fn kind_of(error: &(dyn StdError + 'static)) -> ErrorKind {
    match Cause::of(error) {
        Cause::Rejection(rejection) => match rejection {
            Rejection::CircuitOpen { .. } => ErrorKind::CircuitOpen,
            Rejection::RateLimited { .. } | Rejection::QueueFull { .. } => ErrorKind::RateLimited,
            Rejection::NoEndpoint => ErrorKind::Config {
                field: "endpoints".to_owned(),
                problem: "there is none to send to; add one".to_owned(),
            },
            _ => ErrorKind::Timeout,
        },
        Cause::Credential(error) => ErrorKind::Auth { problem: error.to_string() },
        Cause::Key(_) => ErrorKind::IdempotencyKey,
        Cause::Refused(_) => ErrorKind::Connect,
        Cause::Transport(error) => match error {
            TransportError::Connect(_) | TransportError::Unsent(_) | TransportError::Closed(_) => ErrorKind::Connect,
            TransportError::Busy(_) => ErrorKind::Busy,
            TransportError::BodyTooLarge { limit } => ErrorKind::BodyTooLarge { limit: *limit },
            _ => ErrorKind::Transport,
        },
        _ => ErrorKind::Transport,
    }
}

/// A source that was away or slow may be back; one that refused, or that has none in this process's life, needs a person first.
fn may_be_had_later(error: &CredentialError) -> bool {
    match error {
        CredentialError::Timeout { .. } => true,
        CredentialError::Fetch { source, .. } => {
            find_in_chain::<ProviderError>(&**source).is_none_or(|error| !error.is_lasting())
        }
        _ => false,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the time of day: for HTTP-dates, the age of keys and UUIDv7"
)]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A new UUIDv7. uuid's own `now_v7` panics while the clock is before 1970; here that reads as 1970.
pub(crate) fn new_uuid() -> uuid::Uuid {
    let since = wall_clock().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, since.as_secs(), since.subsec_nanos()))
}
