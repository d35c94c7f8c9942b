//! What can go wrong with the mock itself, as opposed to what it is told to do wrong.

use std::{io, net::SocketAddr};

/// Why a mock could not be started, revived or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MockError {
    /// The address could not be bound. Choose port 0 to get a free one.
    #[error("the mock cannot listen on {addr}; use port 0 to get a free one")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// More than one instance was asked for on one fixed port.
    #[error("{instances} instances cannot share port {port}; use port 0 to give each its own")]
    OnePort {
        /// How many instances were asked for.
        instances: usize,
        /// The port that was given.
        port: u16,
    },
    /// There is no such instance.
    #[error("there is no instance {index}; this mock has {instances}")]
    NoInstance {
        /// The index asked for.
        index: usize,
        /// How many instances there are.
        instances: usize,
    },
    /// A record handed to the mock is not usable.
    #[error("{what} cannot be put into the mock: {reason}")]
    Data {
        /// What was to be put in.
        what: &'static str,
        /// Why not, and what to change.
        reason: String,
    },
}

/// Why an exchange over a [`MockService`](crate::MockService) gave no answer. It comes wrapped in an [`io::Error`] of the kind
/// that a socket would give, so that a client classifies it as it would classify the real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnected {
    /// The instance is killed: nothing was sent ([`io::ErrorKind::ConnectionRefused`]).
    #[error("connection refused: the mock instance is killed")]
    Refused,
    /// The connection closed before an answer; the request may or may not have had its effect
    /// ([`io::ErrorKind::ConnectionReset`]).
    #[error("connection closed by the mock before an answer")]
    BeforeAnswer,
    /// The connection closed in the middle of the body ([`io::ErrorKind::UnexpectedEof`]).
    #[error("connection closed by the mock inside the body")]
    InsideBody,
}

impl From<Disconnected> for io::Error {
    fn from(cause: Disconnected) -> Self {
        let kind = match cause {
            Disconnected::Refused => io::ErrorKind::ConnectionRefused,
            Disconnected::BeforeAnswer => io::ErrorKind::ConnectionReset,
            Disconnected::InsideBody => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, cause)
    }
}

/// Locks a mutex; a panic elsewhere while it was held does not matter to a mock, whose data is never half written.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
