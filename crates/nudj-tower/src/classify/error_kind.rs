use std::error::Error;

use super::{TransportError, find_in_chain};
use crate::Rejection;

/// The low-cardinality name of an error, for OpenTelemetry's `error.type` and for metrics: `timeout`, `circuit_open`,
/// `rate_limited`, `no_endpoint`, `connect`, `busy`, `closed`, `transport`, `body_too_large`, `invalid_request`; `_OTHER` for what is not ours.
#[must_use]
pub fn error_kind(error: &(dyn Error + 'static)) -> &'static str {
    if let Some(rejection) = find_in_chain::<Rejection>(error) {
        return match rejection {
            Rejection::CircuitOpen { .. } => "circuit_open",
            Rejection::RateLimited { .. } | Rejection::QueueFull { .. } => "rate_limited",
            Rejection::DeadlineExceeded { .. } | Rejection::AttemptTimeout { .. } => "timeout",
            Rejection::NoEndpoint => "no_endpoint",
        };
    }
    match find_in_chain::<TransportError>(error) {
        Some(TransportError::Connect(_) | TransportError::Unsent(_)) => "connect",
        Some(TransportError::Busy(_)) => "busy",
        Some(TransportError::Closed(_)) => "closed",
        Some(TransportError::Exchange(_)) => "transport",
        Some(TransportError::BodyTooLarge { .. }) => "body_too_large",
        Some(TransportError::InvalidRequest(_)) => "invalid_request",
        None => "_OTHER",
    }
}
