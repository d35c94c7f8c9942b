//! The whole stack while somebody watches.

use std::sync::Arc;

use http::Request;
use nudj_client::{Client, ClientBuilder};
use nudj_observe::{
    metrics::MetricsObserver,
    otlp::{Otlp, OtlpConfig},
    prometheus::Prometheus,
};
use nudj_tower::BoxError;
use tracing::{Dispatch, dispatcher};

use crate::{Body, Cases};

/// Who watches a client.
#[derive(Debug)]
pub struct Watch {
    /// Told what the layers report.
    pub observer: Option<MetricsObserver>,
    /// Takes the spans.
    pub subscriber: Option<Dispatch>,
    /// What drains or exports while it is there.
    kept: Option<Kept>,
}

#[derive(Debug)]
enum Kept {
    Prometheus(#[expect(dead_code, reason = "only kept")] Prometheus),
    Otlp(Box<Otlp>),
}

impl Watch {
    /// An observer, and no recorder in the process.
    #[must_use]
    pub fn no_recorder() -> Self {
        Self { observer: Some(MetricsObserver::new()), subscriber: None, kept: None }
    }

    /// Metrics for Prometheus.
    ///
    /// # Errors
    /// Outside of a runtime.
    pub fn prometheus() -> Result<Self, BoxError> {
        let prometheus = Prometheus::new()?;
        let observer = prometheus.observer().clone();
        Ok(Self { observer: Some(observer), subscriber: None, kept: Some(Kept::Prometheus(prometheus)) })
    }

    /// A subscriber that keeps spans and tells nobody: what every other pays at least.
    #[must_use]
    pub fn spans() -> Self {
        Self { observer: None, subscriber: Some(Dispatch::new(tracing_subscriber::registry())), kept: None }
    }

    /// Metrics and spans to the collector at `origin`, else as configured.
    ///
    /// # Errors
    /// Outside of a runtime.
    pub fn otlp(origin: String, config: OtlpConfig) -> Result<Self, BoxError> {
        let otlp = Otlp::start(OtlpConfig { endpoint: origin, ..config })?;
        let observer = otlp.observer().clone();
        Ok(Self { observer: Some(observer), subscriber: None, kept: Some(Kept::Otlp(Box::new(otlp))) })
    }

    /// How many spans were not exported.
    #[must_use]
    pub fn lost_spans(&self) -> u64 {
        match &self.kept {
            Some(Kept::Otlp(otlp)) => otlp.lost_spans(),
            _ => 0,
        }
    }

    /// A client's builder that tells the observer.
    pub fn client(&self) -> ClientBuilder {
        match &self.observer {
            Some(observer) => Client::builder().observer(Arc::new(observer.clone())),
            None => Client::builder(),
        }
    }

    /// Shows `cases` this client while the subscriber is the thread's own.
    pub(crate) fn case(&self, cases: &mut impl Cases, name: &'static str, template: &Request<Body>, client: &Client) {
        let mut case = || cases.case(name, template, client.service());
        match &self.subscriber {
            Some(subscriber) => dispatcher::with_default(subscriber, case),
            None => case(),
        }
    }
}
