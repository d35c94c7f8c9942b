//! A recorder for Prometheus, and its route.
//!
//! It stands for itself: nothing is installed for the whole process, so two clients may have one each. No server and no thread are
//! started; [`Prometheus::router`] goes into an axum server that you have anyway.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use crate::metrics::{BUCKETS, MetricsObserver, STATES};

/// What can go wrong when a recorder is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusError {
    /// There is no Tokio runtime here to drain the histograms on.
    #[error("must be made within a Tokio runtime: it drains histograms in the background")]
    NoRuntime,
    /// The exporter refused its settings.
    #[error("the Prometheus exporter refused its settings")]
    Exporter(#[from] BuildError),
}

/// Histograms keep single values until they are drained; this often they are, also when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Counts for Prometheus. A clone is the same recorder; the background task ends with the last one.
#[derive(Clone)]
pub struct Prometheus(Arc<Inner>);

struct Inner {
    observer: MetricsObserver,
    handle: PrometheusHandle,
}

impl Prometheus {
    /// A recorder with nothing counted.
    ///
    /// # Errors
    /// [`PrometheusError`]: outside a Tokio runtime.
    pub fn new() -> Result<Self, PrometheusError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| PrometheusError::NoRuntime)?;
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
        let handle = recorder.handle();
        let inner = Arc::new(Inner { observer: MetricsObserver::over(Arc::new(recorder)), handle });
        runtime.spawn(drain(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// What to give to [`ClientBuilder::observer`](nudj_client::ClientBuilder::observer), and to watch handles with.
    #[must_use]
    pub fn observer(&self) -> &MetricsObserver {
        &self.0.observer
    }

    /// Everything counted, in Prometheus' text format, states and queues as they are now.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.observer.refresh();
        let _states = STATES.lock();
        self.0.handle.render()
    }

    /// `GET /metrics`.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let this = self.clone();
        Router::new().route("/metrics", get(async move || this.response()))
    }

    fn response(&self) -> impl IntoResponse + use<> {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.render())
    }
}

async fn drain(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        match inner.upgrade() {
            Some(inner) => inner.handle.run_upkeep(),
            None => return,
        }
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").field("observer", &self.0.observer).finish_non_exhaustive()
    }
}
