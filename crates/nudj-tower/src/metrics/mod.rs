//! Tells who watches about each call, as its caller sees it: that it began, how it ended, how long it took.
//!
//! Observers get [`CallStarted`](crate::observe::Event::CallStarted) and [`CallEnded`](crate::observe::Event::CallEnded); the log
//! gets one line at each end.
//!
//! ```
//! use http::{Request, Response};
//! use nudj_tower::{metrics::MetricsLayer, observe::{Event, Observers}};
//! use std::{convert::Infallible, sync::{Arc, atomic::{AtomicU32, Ordering}}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let failed = Arc::new(AtomicU32::new(0));
//! let count = Arc::clone(&failed);
//! let observers = Observers::new(move |event: &Event<'_>| {
//!     if matches!(event, Event::CallEnded { error: Some("503"), .. }) {
//!         count.fetch_add(1, Ordering::Relaxed);
//!     }
//! });
//! let service = ServiceBuilder::new().layer(MetricsLayer::new(observers)).service(service_fn(|_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::builder().status(503).body(()).unwrap())
//! }));
//! service.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(failed.load(Ordering::Relaxed), 1);
//! # }
//! ```
//!
//! # Lines
//!
//! | line | level | when |
//! |---|---|---|
//! | `call started` | debug | before the request goes down |
//! | `call completed` | info | an answer below 400, or of a protocol without statuses |
//! | `call failed` | info | an answer from 400, or an error |
//! | `call dropped` | debug | the caller gave up, or a layer further out cut the call |
//!
//! Fields of an end: `correlation_id`, `trace_id`, `operation` and `url.template` (from [`Route`](crate::Route)),
//! `http.request.method`, `http.response.status_code`, `outcome`, `error.type` (a status, or a name of
//! [`error_kind`](crate::classify::error_kind())), `error` (our own words), `duration_ms`, `attempts`, `endpoint`. A field that is
//! not known is left out; so are `attempts` where there was none, and where no layer below counts tries, as
//! [`round_robin`](crate::round_robin) does. No path, query, header or body is written, nor the text of an error that is not ours. The target is
//! `nudj_tower::metrics::record`: `RUST_LOG=nudj_tower::metrics=off` turns the lines off.
//!
//! # Place in the stack
//!
//! Below correlation, so that the ids are known, and above everything else, so that waits, repeats and refusals count as they
//! do for the caller. Below retry it would count attempts. Above a deadline it sees the deadline's error; below it, a call that was
//! cut is one that was dropped.
//!
//! It makes the call's context when there is none. While no observer is set and nothing listens at info it does
//! nothing but ask, and reads no clock. The time ends with the answer's head: over a streaming body that is not the end of the body.
//!
//! Ready when the inner service is; calls it at once. Answers and errors pass unchanged, the error boxed. A call that is dropped
//! is reported with an outcome of `None`; so is one whose inner service panics.
//!
//! # Mistakes to avoid
//!
//! - An observer that blocks or locks for long: it runs on the call's own path. Count, and return.
//! - The correlation layer below this one, and an observer that traces: when it is asked, the call has no trace yet.
//! - A raw path as [`Route::template`](crate::Route): one series per user.
//!
//! Sources: OpenTelemetry HTTP client metrics, <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>.

mod layer;
mod record;
mod service;

pub use self::{
    layer::MetricsLayer,
    service::{Metrics, MetricsFuture},
};
