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
//! All metrics of [`metrics`](crate::metrics): OpenTelemetry's by its own names (`http.client.request.duration`), ours without the
//! endings that Prometheus wants and a collector adds again (`nudj_api_requests`). The spans of the layers: `http_call`, one
//! `http_attempt` below it for each try, whose id is the one in the request's `traceparent`, and `http_request` for calls that came
//! in, so that a trace goes on at the other side. Other spans are left to other layers; the wire's sampled flag is not looked at.
//!
//! # Bounds
//!
//! Spans that have ended wait in a queue of [`OtlpConfig::queue`]; when the collector is away, newer ones are dropped. Metrics keep
//! their totals, so nothing of them is lost.
//!
//! # Mistakes to avoid
//!
//! - No [`Otlp::shutdown`]: the last interval is lost.
//! - A runtime that has gone before: exports run on it.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>.

mod config;
mod pipeline;
mod recorder;
mod spans;
mod transport;

pub use self::{
    config::{Headers, OtlpConfig, OtlpError},
    pipeline::Otlp,
    spans::SpanLayer,
};
