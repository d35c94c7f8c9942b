use std::{error::Error, io};

use super::TransportError;
use crate::Rejection;

/// What an error of a call is about: the outermost of this crate's errors in its chain.
///
/// Only the outermost counts. A credential or a key that could not be had may have a timeout or a refused connection as its own cause;
/// that was another call, to whoever gives credentials or keeps keys, and says nothing about this one's endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Cause<'e> {
    /// One of our layers refused the call or ended it.
    Rejection(&'e Rejection),
    /// The transport failed.
    Transport(&'e TransportError),
    /// There was no credential to send with.
    #[cfg(feature = "credentials")]
    Credential(&'e crate::credentials::CredentialError),
    /// There was no idempotency key to send with.
    #[cfg(feature = "idempotency")]
    Key(&'e crate::idempotency::KeyError),
    /// The connection was refused, so nothing was sent: an [`io::Error`] of that kind which comes as it is, from a transport that does
    /// not wrap its errors. One that another error has as its cause may be of another connection, and is not meant.
    Refused(&'e io::Error),
    /// None of ours.
    Other,
}

impl<'e> Cause<'e> {
    /// Reads it off `error` and what caused it.
    #[must_use]
    pub fn of(error: &'e (dyn Error + 'static)) -> Self {
        if let Some(refused) = error.downcast_ref().filter(|error: &&io::Error| is_refused(error)) {
            return Self::Refused(refused);
        }
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rejection) = error.downcast_ref() {
                return Self::Rejection(rejection);
            }
            if let Some(error) = error.downcast_ref() {
                return Self::Transport(error);
            }
            #[cfg(feature = "credentials")]
            if let Some(error) = error.downcast_ref() {
                return Self::Credential(error);
            }
            #[cfg(feature = "idempotency")]
            if let Some(error) = error.downcast_ref() {
                return Self::Key(error);
            }
            next = error.source();
        }
        Self::Other
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// The names that [`error_kind`] has, but for `_OTHER`.
pub const ERROR_KINDS: [&str; 12] = [
    "timeout",
    "circuit_open",
    "rate_limited",
    "no_endpoint",
    "auth",
    "idempotency_key",
    "connect",
    "busy",
    "closed",
    "transport",
    "body_too_large",
    "invalid_request",
];

/// The low-cardinality name of an error, for OpenTelemetry's `error.type` and for metrics: one of [`ERROR_KINDS`], of which `auth` and
/// `idempotency_key` mean that there was no credential or no key to send with; `_OTHER` for what is not ours.
#[must_use]
pub fn error_kind(error: &(dyn Error + 'static)) -> &'static str {
    match Cause::of(error) {
        Cause::Rejection(rejection) => match rejection {
            Rejection::CircuitOpen { .. } => "circuit_open",
            Rejection::RateLimited { .. } | Rejection::QueueFull { .. } => "rate_limited",
            Rejection::DeadlineExceeded { .. } | Rejection::AttemptTimeout { .. } => "timeout",
            Rejection::NoEndpoint => "no_endpoint",
        },
        Cause::Transport(error) => match error {
            TransportError::Connect(_) | TransportError::Unsent(_) => "connect",
            TransportError::Busy(_) => "busy",
            TransportError::Closed(_) => "closed",
            TransportError::Exchange(_) => "transport",
            TransportError::BodyTooLarge { .. } => "body_too_large",
            TransportError::InvalidRequest(_) => "invalid_request",
        },
        #[cfg(feature = "credentials")]
        Cause::Credential(_) => "auth",
        #[cfg(feature = "idempotency")]
        Cause::Key(_) => "idempotency_key",
        Cause::Refused(_) => "connect",
        Cause::Other => "_OTHER",
    }
}
