//! Why the pool gave no connection.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use nudj_tower::{BoxError, classify::TransportError};

use crate::transport::connector::KEEP_ALIVE_TIMEOUT;

/// Why a call got no connection, or could not be sent on one. Nobody has acted on the request, save perhaps where the connection fell silent.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::transport) enum PoolError {
    #[error("making a connection failed")]
    Connect(#[source] Cause),
    #[error("no connection was made within {limit:?}; is the endpoint reachable? http.connect_timeout sets the limit")]
    ConnectTimeout { limit: Duration },
    #[error("no connection was made within {limit:?}; is the endpoint reachable? http.pool_max_wait sets the limit")]
    Unmade { limit: Duration },
    #[error(
        "{limit} calls wait for a connection to this endpoint already; send less, or raise http.pool_max_waiting, or http.pool_max_per_host, over HTTP/2 \
         http.pool_max_http2_per_host"
    )]
    Full { limit: usize },
    #[error(
        "all connections to this endpoint, or the HTTP/2 streams that it allows, were busy for {limit:?}; send \
         less, or raise http.pool_max_wait, or http.pool_max_per_host, over HTTP/2 http.pool_max_http2_per_host"
    )]
    Busy { limit: Duration },
    #[error("the transport was shut down")]
    Closed,
    #[error("the Tokio runtime that was to make the connection is gone; call from a live one")]
    RuntimeGone,
    #[error("each connection closed before it took the request")]
    ClosedEarly,
    #[error("the server said more than once that it did not process the request")]
    Refused,
    #[error(
        "the connection's peer gave no sign of life within {KEEP_ALIVE_TIMEOUT:?}; is the endpoint still reachable?"
    )]
    Silent,
    #[error("the call's time was over before the connection took the request; nothing was sent")]
    Late,
}

impl PoolError {
    /// In the terms of the layers above.
    pub(super) fn into_transport(self) -> BoxError {
        Box::new(match self {
            Self::Connect(_) | Self::ConnectTimeout { .. } | Self::Unmade { .. } => {
                TransportError::Connect(Box::new(self))
            }
            Self::Silent => TransportError::Exchange(Box::new(self)),
            Self::Full { .. } | Self::Busy { .. } => TransportError::Busy(Box::new(self)),
            Self::Closed => TransportError::Closed(Box::new(self)),
            Self::RuntimeGone | Self::ClosedEarly | Self::Refused | Self::Late => {
                TransportError::Unsent(Box::new(self))
            }
        })
    }
}

/// What a connection failed by, told to every call that waited for it.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Cause(Arc<dyn Error + Send + Sync>);

impl From<BoxError> for Cause {
    fn from(error: BoxError) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
