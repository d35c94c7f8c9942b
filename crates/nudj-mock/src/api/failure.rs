//! A refusal, and the envelope it is answered in.

use http::StatusCode;
use serde_json::{Value, json};

use crate::store::Taken;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid or missing API token")
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn taken(field: Taken) -> Self {
        let field = match field {
            Taken::Email => "email",
            Taken::ExternalUserId => "externalUserId",
        };
        Self::conflict(format!("A user with this {field} already exists"))
    }

    pub(crate) fn key_reused() -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "This Idempotency-Key came with a different request before")
    }

    pub(crate) fn not_json() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON, sent with content-type: application/json")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn full(what: &str) -> Self {
        Self::internal(format!("{what}: the mock is full; raise its limit in the builder"))
    }

    /// The documented code of the status.
    pub(crate) fn code(&self) -> &'static str {
        code(self.status)
    }
}

/// The documented codes, and tRPC's for what is not documented.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "BAD_REQUEST",
        401 => "UNAUTHORIZED",
        403 => "FORBIDDEN",
        404 => "NOT_FOUND",
        405 => "METHOD_NOT_SUPPORTED",
        408 => "TIMEOUT",
        409 => "CONFLICT",
        413 => "PAYLOAD_TOO_LARGE",
        415 => "UNSUPPORTED_MEDIA_TYPE",
        422 => "UNPROCESSABLE_CONTENT",
        425 => "TOO_EARLY",
        429 => "TOO_MANY_REQUESTS",
        501 => "NOT_IMPLEMENTED",
        502 => "BAD_GATEWAY",
        503 => "SERVICE_UNAVAILABLE",
        504 => "GATEWAY_TIMEOUT",
        _ if status.is_client_error() => "BAD_REQUEST",
        _ => "INTERNAL_SERVER_ERROR",
    }
}

/// The documented envelope. `procedure` is what its `path` holds.
pub(crate) fn envelope(status: StatusCode, message: &str, procedure: &str) -> Value {
    json!({
        "message": message,
        "code": code(status),
        "data": {"httpStatus": status.as_u16(), "path": procedure},
    })
}
