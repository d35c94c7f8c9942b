//! What can go wrong here.

use thiserror::Error;

use crate::RemoteError;

/// A boxed error, as tower uses it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is missing or out of range.
    #[error("sync configuration: {field} {problem}")]
    Config {
        /// The field's path, such as `chunk_size`.
        field: &'static str,
        /// What is wrong, and the range.
        problem: &'static str,
    },
    /// A store of ours (journal, checkpoint, outbox, position) failed; what it was to record did not happen, or will be found
    /// half done and finished by the next start.
    #[error("the {what} failed; check that it can be reached and is not full")]
    Store {
        /// Which store.
        what: &'static str,
        /// Its error.
        #[source]
        source: BoxError,
    },
    /// A store of ours holds something that cannot be read.
    #[error("the {what} cannot be read: {problem}")]
    Corrupt {
        /// Which store.
        what: &'static str,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// The event bus has no room, and none came in the time that publishing may wait. Nothing was published.
    #[error("the event bus is full; publish again later, and look at what its consumer is waiting for")]
    BusFull,
    /// An event is larger than the bus can carry. Nothing was published, and publishing it again will not help.
    #[error(
        "event {id:?} has {bytes} bytes, and the bus can carry {most}; keep its payload elsewhere and publish where it is, or raise \
         the server's max_payload"
    )]
    EventTooLarge {
        /// The event's id.
        id: String,
        /// What it takes as the bus stores it.
        bytes: usize,
        /// What it may take.
        most: usize,
    },
    /// Your own system (its database, a callback, a handler) failed.
    #[error("the local side failed: {0}")]
    Local(#[source] BoxError),
    /// Creating a user failed, and your compensation has run: it is in neither system.
    #[error("creating user {id:?} failed and was rolled back: {source}")]
    RolledBack {
        /// Your id of it.
        id: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// It is not known yet whether the user is at Nudj. Its record is kept; resume later.
    #[error("whether user {id:?} is at Nudj is not known yet; resume later: {source}")]
    Undecided {
        /// Your id of it.
        id: String,
        /// The call that failed last.
        #[source]
        source: RemoteError,
    },
    /// Another call of this process works on the same user.
    #[error("another call works on user {id:?}; wait for its end")]
    UnderWay {
        /// Your id of it.
        id: String,
    },
    /// More records are gone on one side than may be deleted on the other in one go. None of these was.
    #[error(
        "{gone} of {of} records are gone on one side, and none was deleted on the other; are token, organisation and database \
         the right ones? If they are, raise max_gone_share"
    )]
    TooManyGone {
        /// How many are gone.
        gone: usize,
        /// Of how many that were looked at.
        of: usize,
    },
    /// A record changed every time it was about to be written.
    #[error("record {key:?} changed each time it was about to be written; sync it again later")]
    Restless {
        /// Which record.
        key: String,
    },
    /// A call to Nudj failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl Error {
    #[allow(dead_code, reason = "which parts use it depends on the features")]
    pub(crate) fn config(field: &'static str, problem: &'static str) -> Self {
        Self::Config { field, problem }
    }

    /// An error for the first of these settings that does not hold.
    #[allow(dead_code, reason = "which parts use it depends on the features")]
    pub(crate) fn first_wrong(checks: &[(bool, &'static str, &'static str)]) -> Result<(), Self> {
        let wrong = checks.iter().find(|(holds, ..)| !holds);
        wrong.map_or(Ok(()), |(_, field, problem)| Err(Self::config(field, problem)))
    }

    #[allow(dead_code, reason = "which parts use it depends on the features")]
    pub(crate) fn store(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Store { what, source: source.into() }
    }

    #[allow(dead_code, reason = "which parts use it depends on the features")]
    pub(crate) fn corrupt(what: &'static str, problem: impl Into<String>) -> Self {
        Self::Corrupt { what, problem: problem.into() }
    }
}
