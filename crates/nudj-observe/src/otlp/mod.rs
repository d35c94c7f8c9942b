//! Metrics and traces to an OpenTelemetry collector, by OTLP over HTTP in protobuf, over the client's own hyper transport.
//!
//! ```no_run
//! use nudj_client::Client;
//! use nudj_observe::otlp::{Otlp, OtlpConfig};
//! use std::sync::Arc;
//! use tracing_subscriber::prelude::*;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let otlp = Otlp::start(OtlpConfig { service_name: "shop".into(), ..OtlpConfig::default() })?;
//! // For the spans of calls that come in, if there are any.
//! tracing_subscriber::registry().with(otlp.layer()).init();
//! let client = Client::builder().endpoint("https://acme.nudj.cx").observer(Arc::new(otlp.observer().clone())).build()?;
//! otlp.observer().watch(client.handles());
//! // …
//! otlp.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # What is sent
//!
//! All metrics of [`metrics`](crate::metrics): OpenTelemetry's by its own names (`http.client.request.duration`), ours without
//! `_seconds` and `_total`, which Prometheus wants and a collector adds again (`nudj_api_requests`). A span for each call, an internal one by
//! the conventions, so that nobody counts it as a request; one below it for each attempt, whose id is the one in the request's
//! `traceparent`; and with [`Otlp::layer`] one for each call that came in, so that a trace
//! goes on at both sides. Calls and attempts come from the observer, without `tracing`: what they cost does not depend on a
//! subscriber. Other spans are left to other layers.
//!
//! Left out on purpose, where the conventions ask for it: `url.full` on the spans of a client, since ids and queries are nobody's but
//! the user's. `url.template` says which call it was, `server.address` and `server.port` where it went. And
//! `http.client.active_requests` has no server: which one a call goes to is not known when it begins.
//!
//! # Sampling
//!
//! [`OtlpConfig::sample`] says which share of the traces that begin here is exported; a trace that began elsewhere is exported when
//! its `traceparent` says that it is sampled. All of a trace is, or nothing. What goes over the wire does not change by it: a trace
//! that begins here is sent as sampled, so that the other side decides for itself.
//!
//! There is a bound as well, [`OtlpConfig::spans_per_second`], since a client that makes a hundred thousand calls a second would write thirty
//! megabytes of spans in each. While there would be more, a smaller share of the traces that begin here is exported; it is found anew with each
//! export, a few seconds apart at most while the collector answers, and [`Otlp::share`] tells it. Only of a trace that is under way at that
//! moment a part may be missing.
//!
//! # Bounds
//!
//! Spans that have ended wait in a queue of [`OtlpConfig::queue`], and are sent every 5 s or when half of it is full, at the latest at
//! 512; when the collector is away, newer ones are dropped, and the log says how many. An export is tried again within its timeout
//! when the collector cannot be reached or answers 429, 502, 503 or 504. Metrics keep their totals, so nothing of them is lost.
//! What a collector takes only a part of is not sent again: the log says so, once a minute at most. [`Otlp::lost_spans`] counts the
//! spans that are.
//!
//! # Cost
//!
//! A call and its attempts are written in their final form into the queue's memory, some 310 bytes for the two, which is sent as it is. What
//! metrics and spans take of a client's calls per second is measured on the benchmarks' page. A thread for the exports was tried: on two
//! cores that a client and its server shared, it took one call in a hundred more.
//!
//! # Mistakes to avoid
//!
//! - No [`Otlp::shutdown`]: the last interval may be lost.
//! - A runtime that has gone before: exports run on it.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>.

mod config;
mod encode;
mod layer;
mod message;
mod pipeline;
mod recorder;
mod rejected;
mod sampling;
mod shapes;
mod traces;
mod transport;
mod waiting;

pub use self::{
    config::{ExportError, Headers, OtlpConfig, OtlpError},
    layer::SpanLayer,
    pipeline::Otlp,
};
