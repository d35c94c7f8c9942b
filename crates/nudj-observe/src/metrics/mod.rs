//! Counts what the layers report, by the `metrics` facade, into whatever recorder there is.
//!
//! A [`MetricsObserver`] is given to the client's builder; its handles are watched, for what has to be asked for.
//!
//! ```
//! use nudj_client::Client;
//! use nudj_observe::{metrics::MetricsObserver, prometheus::Prometheus};
//! use std::sync::Arc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = Prometheus::new()?;
//! let client = Client::builder()
//!     .endpoint("http://127.0.0.1:8080")
//!     .token("example-token")
//!     .observer(Arc::new(prometheus.observer().clone()))
//!     .build()?;
//! prometheus.observer().watch(client.handles());
//! let text = prometheus.render();
//! assert!(text.contains(r#"nudj_circuit_breaker_state{endpoint="http://127.0.0.1:8080",state="closed"} 1"#));
//! # Ok(()) }
//! ```
//!
//! # Metrics
//!
//! [`ALL`] lists them with their labels and what they say. The seed's names are served beside OpenTelemetry's: one call counts in
//! `nudj_api_requests_total` and `nudj_api_duration_seconds`, and in `http_client_request_duration_seconds`. All of them count
//! calls, as the caller sees them; `nudj_attempts_total` counts tries. So `http_client_request_duration_seconds` is wider than the
//! conventions have it: it has one entry for a call of three tries, waits included, and one for a call that sent nothing, because a
//! cache answered it or a layer refused it (then without `server_address`). Where each request has to be told apart, look at the
//! attempts' spans of the `otlp` feature.
//!
//! # Cardinality
//!
//! No label comes from a path, a query, a body or a header. Operations and templates are the program's own constants; a call without
//! a route counts as `_OTHER`. Endpoints, providers and streams are told apart up to 64 each, combinations of call labels up to 512;
//! what comes after counts as `_OTHER`, a call by the class of its status (`2xx`). Those are the first 64 that ever were: a recorder
//! takes no series back, so one that is gone makes no room. The endpoints under `_OTHER` are added up: calls, failures, how many take
//! calls, how many breakers are in a state.
//!
//! # Cost
//!
//! Nothing without an observer, and nothing but a look whether there is one while the process has no recorder. Else a call costs three
//! look-ups in tables that are read without a lock and a few atomic additions, and no allocation after its kind has been seen once.
//!
//! # Mistakes to avoid
//!
//! - [`MetricsObserver::sync`] before the recorder is installed: what it gave then goes nowhere for good. Everything else begins to
//!   count with the first call after the recorder is there.
//! - A recorder of one's own whose type has no size, all in statics: it is taken for none. Give it a field.
//! - A recorder whose histograms grow until somebody reads them, and nobody who does: [`Prometheus`](crate::prometheus) sees to it
//!   itself.
//!
//! Sources: OpenTelemetry HTTP metrics, <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>; naming,
//! <https://prometheus.io/docs/practices/naming/>.

mod amplification;
mod breakers;
mod calls;
mod catalogue;
mod endpoints;
mod growth;
mod meter;
mod named;
mod observer;
mod slots;
mod sources;
mod watched;

#[cfg(any(feature = "prometheus", feature = "otlp"))]
pub(crate) use self::breakers::STATES;
#[cfg(feature = "otlp")]
pub(crate) use self::{
    calls::Server,
    observer::{TracedCall, Tracer, WeakObserver},
};
pub use self::{
    catalogue::{ALL, BUCKETS, Kind, Metric},
    observer::MetricsObserver,
    sources::{CacheLevel, SyncMetrics, WebhookTotals},
};
