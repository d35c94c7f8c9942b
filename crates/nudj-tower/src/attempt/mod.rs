//! What is new on each attempt: a span, a span id on the wire, and the number of the repeat.
//!
//! Each attempt runs in a `tracing` span of its own and carries that attempt's span id in `traceparent`, so that a trace shows
//! every try at every endpoint; repeats say so in `x-retry-attempt`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::convert::Infallible;
//!
//! use http::{HeaderMap, Request, Response};
//! use nudj_tower::{CallContext, attempt::{AttemptLayer, RETRY_ATTEMPT}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let service = ServiceBuilder::new().layer(AttemptLayer::new()).service(service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.headers().clone()))
//! }));
//! let mut request = Request::new(());
//! let context = CallContext::get_or_insert(request.extensions_mut());
//! let first = service.clone().oneshot(request.clone()).await.unwrap();
//! assert!(!first.body().contains_key(RETRY_ATTEMPT));
//!
//! context.count_resend(); // Retry does.
//! let second = service.oneshot(request).await.unwrap();
//! assert_eq!(second.body()[RETRY_ATTEMPT], "1");
//! # }
//! ```
//!
//! # Headers
//!
//! | header | when |
//! |---|---|
//! | `traceparent` | the call has a trace ([`correlation`](crate::correlation) gives it one): the same trace, a new span id. The first attempt sends the one that the correlation layer wrote, at no cost |
//! | `tracestate` | the call's trace brought one and the request has none |
//! | `x-retry-attempt` | repeats: 1 for the first |
//!
//! # Span
//!
//! `http_attempt` at level `INFO`, named and attributed by the OpenTelemetry HTTP client conventions: `otel.name`, `otel.kind`,
//! `http.request.method`, `url.template`, `server.address` and `server.port` (written when the endpoint is known),
//! `http.request.resend_count`, `http.response.status_code`, `error.type`, and `span_id`, as sent. An attempt that is dropped has
//! the `error.type` `cancelled`. An observer that [`traces`](crate::observe::Observer::traces) the call learns of it without `tracing`, see
//! [`AttemptLayer::observers`]: from the call's end where there is a [metrics layer](crate::metrics), else from the attempt.
//!
//! # Place in the stack
//! Right below retry. Above it there would be one span and one span id for all attempts. Below the credentials layer, a replay
//! after a 401 would look like an attempt.
//!
//! Ready when the service below is; calls it at once. Without a context there is the span, and no header.
//!
//! # On cancel
//! The span says so, and ends.
//!
//! # On panic
//! A panic below passes through and reads as cancelled.
//!
//! # Errors
//! None of its own: answers and errors pass unchanged.
//!
//! # Mistakes to avoid
//! Counting attempts by these spans: a request that the balancer hands from an endpoint to the next is one attempt. The context
//! counts tries ([`CallContext::tries`](crate::CallContext::tries)).
//!
//! Sources: <https://www.w3.org/TR/trace-context/>, <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>.

mod headers;
mod layer;
mod service;
mod span;

pub use self::{
    headers::RETRY_ATTEMPT,
    layer::AttemptLayer,
    service::{Attempt, AttemptFuture},
};
