//! `/livez`, `/readyz`, `/health`.

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Health, report::Status};

impl Health {
    /// Three routes for whoever runs the process.
    ///
    /// | route | answer |
    /// |---|---|
    /// | `GET /livez` | 200, without a check: the process answers. Restarting it cures nothing else |
    /// | `GET /readyz` | 200 and one word when healthy or degraded, 503 when unhealthy |
    /// | `GET /health` | the whole report as JSON, with the same statuses |
    ///
    /// `/health` shows names and errors of what the service depends on: keep it from strangers.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (ready, whole) = (self.clone(), self.clone());
        let readyz = async move || {
            let status = ready.report().await.status;
            answer(code(status), status.as_str())
        };
        let health = async move || {
            let report = whole.report().await;
            answer(code(report.status), Json(report))
        };
        Router::new()
            .route("/livez", get(async || answer(StatusCode::OK, "alive")))
            .route("/readyz", get(readyz))
            .route("/health", get(health))
    }
}

fn code(status: Status) -> StatusCode {
    match status {
        Status::Healthy | Status::Degraded => StatusCode::OK,
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn answer(code: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (code, body).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
