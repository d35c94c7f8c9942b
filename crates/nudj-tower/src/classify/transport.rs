use crate::BoxError;

/// How sending a request failed below the layers, in the terms they need: did it leave, and may it be sent again?
///
/// A transport wraps its errors in this so that retry and breaker know them without knowing the transport. Errors of
/// other transports are treated as [`TransportError::Exchange`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection could be made: the request never left. Safe to send again whatever its method.
    #[error("could not connect; check the endpoint's address, DNS and TLS settings")]
    Connect(#[source] BoxError),
    /// No connection took the request: a kept one was closed before it went out. Safe to send again whatever its method.
    #[error("the request was not sent: no connection took it")]
    Unsent(#[source] BoxError),
    /// The transport's own bounds: all connections were in use, and none came free in time or too many waited. It says nothing of the
    /// endpoint, so it is nobody's failure; another endpoint may have room.
    #[error("the request was not sent: no connection was free")]
    Busy(#[source] BoxError),
    /// The transport was shut down and takes no more requests.
    #[error("the request was not sent: the client was shut down")]
    Closed(#[source] BoxError),
    /// The exchange broke off. The server may have acted on the request.
    #[error("the connection broke before the answer was complete")]
    Exchange(#[source] BoxError),
    /// The answer's body is larger than the client takes. Sending again would bring the same body.
    #[error("the answer is larger than {limit} bytes; raise max_response_bytes if it should be")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent")]
    InvalidRequest(#[source] BoxError),
}

impl TransportError {
    /// Whether the request may have reached a server.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Unsent(_) | Self::Busy(_) | Self::Closed(_) | Self::InvalidRequest(_) => false,
            Self::Exchange(_) | Self::BodyTooLarge { .. } => true,
        }
    }
}
