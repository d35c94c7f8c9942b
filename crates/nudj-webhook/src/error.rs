//! What can go wrong here apart from a request not being believed, which is a [`Refusal`](crate::Refusal).

use thiserror::Error;

/// A boxed error, as tower uses it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing or out of range.
    #[error("webhook configuration: {field} {problem}")]
    Config {
        /// The field's path, such as `replay.retention`.
        field: &'static str,
        /// What is wrong, and the range.
        problem: &'static str,
    },
    /// The body is not an event: not JSON, not an object, or without a name of an event.
    #[error("the body is not an event: {problem}")]
    NotAnEvent {
        /// What is wrong.
        problem: &'static str,
        /// The parser's message.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// An event's data does not have the documented shape; the raw JSON is still there.
    #[error("the data of event {event:?} is not of the documented shape")]
    EventData {
        /// The event's name.
        event: String,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// The store behind the inbox or the replay guard failed; nothing was recorded, and the sender is told to come
    /// again.
    #[error("the webhook store failed; check that it can be reached and is not full")]
    Store(#[source] BoxError),
    /// `build` was called outside a tokio runtime.
    #[error("a receiver must be built inside a tokio runtime")]
    NoRuntime,
}

impl Error {
    pub(crate) fn config(field: &'static str, problem: &'static str) -> Self {
        Self::Config { field, problem }
    }

    /// The store did not answer in time; whether it did what was asked, nobody knows.
    pub(crate) fn no_answer(_: tokio::time::error::Elapsed) -> Self {
        Self::Store("it did not answer in time".into())
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
    pub(crate) fn store(source: impl Into<BoxError>) -> Self {
        Self::Store(source.into())
    }
}
