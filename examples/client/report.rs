//! The line that `--json` prints per call.

use std::time::Duration;

use nudj::{
    client::{Answer, Error},
    tower::CallContext,
};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct CallLine {
    call: u64,
    status: Option<u16>,
    attempts: u32,
    endpoint: Option<String>,
    correlation_id: Option<String>,
    elapsed_ms: f64,
    error: Option<ErrorLine>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ErrorLine {
    kind: &'static str,
    message: String,
    retry_after_ms: Option<u64>,
}

impl CallLine {
    pub(crate) fn new(call: u64, result: &Result<Answer, Error>, context: &CallContext, elapsed: Duration) -> Self {
        let status = match result {
            Ok(answer) => Some(answer.status().as_u16()),
            Err(error) => error.status().map(|status| status.as_u16()),
        };
        Self {
            call,
            status,
            attempts: context.tries(),
            endpoint: context.endpoint().map(|name| name.to_string()),
            correlation_id: context.correlation_id().and_then(|id| Some(id.to_str().ok()?.to_owned())),
            elapsed_ms: (elapsed.as_secs_f64() * 1e6).round() / 1e3,
            error: result.as_ref().err().map(|error| ErrorLine {
                kind: error.kind().name(),
                message: error.to_string(),
                retry_after_ms: error.retry_after().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            }),
        }
    }
}
