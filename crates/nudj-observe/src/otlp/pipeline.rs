//! What starts, feeds and ends the exports.

use std::{fmt, sync::Arc};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor},
};

use super::{
    config::{OtlpConfig, OtlpError},
    recorder::OtelRecorder,
    spans::SpanLayer,
    transport::Sender,
};
use crate::metrics::MetricsObserver;

/// Exports to a collector until it is shut down. See the [module's page](super).
pub struct Otlp {
    observer: MetricsObserver,
    provider: SdkMeterProvider,
    processor: Arc<BatchSpanProcessor>,
    config: OtlpConfig,
}

impl Otlp {
    /// Starts two threads, one for metrics and one for spans, which send on the runtime that this is called in.
    ///
    /// # Errors
    /// [`OtlpError`]. That the collector does not answer is none: exports are tried again, and what is too much is dropped.
    pub fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| OtlpError::NoRuntime)?;
        let client = Arc::new(Sender::new(runtime)?);
        let at = |path: &str| format!("{}{path}", config.endpoint.trim_end_matches('/'));
        let headers = || config.headers.shown_to_the_exporter();
        let resource = Resource::builder().with_service_name(config.service_name.clone()).build();

        let spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(Arc::clone(&client) as _)
            .with_headers(headers())
            .with_endpoint(at("/v1/traces"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(config.timeout)
            .build()?;
        let batch = BatchConfigBuilder::default().with_max_queue_size(config.queue).build();
        let mut processor = BatchSpanProcessor::builder(spans).with_batch_config(batch).build();
        processor.set_resource(&resource);

        let metrics = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            .with_headers(headers())
            .with_endpoint(at("/v1/metrics"))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(config.timeout)
            .build()?;
        let reader = PeriodicReader::builder(metrics).with_interval(config.interval).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
        let meter = provider.meter("nudj");
        let observer = MetricsObserver::over(Arc::new(OtelRecorder::new(meter.clone())));
        // Callbacks run before what was recorded is collected: what has to be asked for is asked then. This one observes nothing.
        let asked = observer.downgrade();
        let _ = meter
            .u64_observable_gauge("nudj_refresh")
            .with_callback(move |_| {
                if let Some(observer) = asked.upgrade() {
                    observer.refresh();
                }
            })
            .build();
        Ok(Self { observer, provider, processor: Arc::new(processor), config })
    }

    /// What to give to [`ClientBuilder::observer`](nudj_client::ClientBuilder::observer), and to watch handles with.
    #[must_use]
    pub fn observer(&self) -> &MetricsObserver {
        &self.observer
    }

    /// A layer for the process's subscriber, which exports the spans of calls and attempts. An attempt's span has the id that its
    /// request carried in `traceparent`.
    #[must_use]
    pub fn layer(&self) -> SpanLayer {
        SpanLayer::new(Arc::clone(&self.processor))
    }

    /// Sends what has not been sent, and ends the exports. Dropping an [`Otlp`] instead may lose the last of it.
    ///
    /// # Errors
    /// [`OtlpError::Shutdown`] when that was not done within the timeout, once for metrics and once for spans.
    pub async fn shutdown(self) -> Result<(), OtlpError> {
        let Self { provider, processor, config, .. } = self;
        // Blocks while the exporters' threads send on this runtime.
        let ended = tokio::task::spawn_blocking(move || {
            let (metrics, spans) =
                (provider.shutdown_with_timeout(config.timeout), processor.shutdown_with_timeout(config.timeout));
            metrics.and(spans)
        });
        match ended.await {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(OtlpError::NoRuntime),
        }
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("config", &self.config).finish_non_exhaustive()
    }
}
