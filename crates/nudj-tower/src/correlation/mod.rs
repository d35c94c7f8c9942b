//! One id and one trace for a whole call: every log line and every server on the way carries them.
//!
//! [`CorrelationLayer`] is for calls that go out, [`CorrelationServerLayer`] for calls that come in. Mount both, and what a
//! handler sends carries the id that the handler was called with.
//!
//! ```
//! use http::{Request, Response};
//! use nudj_tower::correlation::{CORRELATION_ID, CorrelationLayer};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new().layer(CorrelationLayer::new()).service(service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.headers()[&CORRELATION_ID].clone()))
//! }));
//! let request = Request::builder().header(CORRELATION_ID, "order-17").body(()).unwrap();
//! assert_eq!(service.clone().oneshot(request).await.unwrap().body(), "order-17");
//! // Line breaks, blanks, anything that could write into a log: replaced by an id of our own.
//! let request = Request::builder().header(CORRELATION_ID, "17 [INFO] paid").body(()).unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap().body().len(), 36);
//! # }
//! ```
//!
//! # Which id, which trace
//!
//! | | the request has a good one | it has a bad one | it has none |
//! |---|---|---|---|
//! | `x-correlation-id` | kept | replaced as if it had none | the one of the call being served, else a new UUIDv7 |
//! | `traceparent` | continued | a new trace; `tracestate` is dropped | the one of the call being served, else a new trace |
//!
//! A good correlation id is one header of 1 to 128 characters `A-Z a-z 0-9 . _ -`. A bad one is kept nowhere, neither in a log
//! nor in a header. "The call being served" is what [`CorrelationServerLayer`] keeps in a task-local: it is there while the
//! handler's future runs, not in tasks that the handler spawns nor while its answer's body streams. Hand it on with
//! [`current`] where you need it.
//!
//! # Span
//!
//! Each call runs in a `tracing` span at level `INFO` with the fields of the OpenTelemetry HTTP client conventions:
//! `otel.name` (`GET /users/{id}`), `otel.kind`, `http.request.method`, `url.template` (from
//! [`Route`](crate::Route)), `server.address`, `http.response.status_code`, `error.type`, and `correlation_id`, `trace_id`. No
//! path and no query is recorded: they name people. Its kind is `internal`: by the conventions each request that is sent has a client's span,
//! which is the [attempt](crate::attempt)'s, and what goes around them has none. The server's span is the same with
//! `otel.kind = "server"`.
//!
//! # Place in the stack
//!
//! Outermost, so that whatever the layers below log stands inside its span. Below retry, each attempt would look like a call
//! of its own. The `traceparent` written here is the first attempt's; the attempt layer below
//! retry writes a new one per attempt.
//!
//! Ready when the inner service is; calls it at once, and passes answers and errors on unchanged. On cancel the span is closed
//! without a status; a panic below passes through.
//!
//! # Mistakes to avoid
//!
//! - `layer(RetryLayer).layer(CorrelationLayer)`: a new id per attempt. Put `CorrelationLayer` first.
//! - No [attempt layer](crate::attempt) below, and an exporter that looks for a client's span: there is none then.
//! - Trusting the inbound id to be secret or unique: a caller chooses it. It ties log lines together, no more.
//!
//! Sources: W3C Trace Context level 1, <https://www.w3.org/TR/trace-context/>; OpenTelemetry HTTP spans,
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>; RFC 9562 for UUIDv7.

mod ids;
mod layer;
mod server;
mod service;
mod span;
mod task;

pub use self::{
    ids::CORRELATION_ID,
    layer::{CorrelationLayer, CorrelationServerLayer},
    server::{CorrelationServer, CorrelationServerFuture},
    service::{Correlation, CorrelationFuture},
    task::{current, current_trace},
};
