//! What starts, feeds and ends the exports.

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio::{runtime::Handle, select, sync::watch, task::JoinHandle, time::sleep};

use super::{
    config::{ExportError, OtlpConfig, OtlpError},
    encode,
    layer::SpanLayer,
    message::{self, ExportMetrics, ResourceMetrics, ScopeMetrics},
    recorder::Totals,
    traces::{Sampling, Traces},
    transport::Sender,
    waiting::{Waiting, unix_nanos, wall_clock},
};
use crate::metrics::{MetricsObserver, WeakObserver};

/// Spans wait no longer than this, unless the collector is away.
const SPANS_EVERY: Duration = Duration::from_secs(5);

/// Exports to a collector until it is shut down. See the [module's page](super).
pub struct Otlp {
    observer: MetricsObserver,
    waiting: Arc<Waiting>,
    sampling: Sampling,
    tasks: [JoinHandle<Result<(), ExportError>>; 2],
    /// Dropped, it ends the exports after a last one.
    stop: watch::Sender<()>,
    config: OtlpConfig,
}

impl Otlp {
    /// Starts two tasks on the runtime that this is called in, one for metrics and one for spans.
    ///
    /// # Errors
    /// [`OtlpError`]. That the collector does not answer is none: exports are tried again, and what is too much is dropped.
    pub fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| OtlpError::NoRuntime)?;
        let (waiting, sampling) = (Arc::new(Waiting::new(config.queue)), Sampling::of(config.sample));
        let totals = Arc::new(Totals::new(unix_nanos(wall_clock())));
        let traces = Traces::new(Arc::clone(&waiting), sampling);
        let observer = MetricsObserver::tracing(totals.clone(), Arc::new(traces));
        let (stop, stopped) = watch::channel(());
        let metrics = Metrics {
            sender: Sender::new(&config, "/v1/metrics")?,
            observer: observer.downgrade(),
            totals,
            interval: config.interval,
            service_name: config.service_name.clone(),
        };
        let spans = Spans {
            sender: Sender::new(&config, "/v1/traces")?,
            waiting: Arc::clone(&waiting),
            resource: message::resource(&config.service_name).encode_to_vec(),
            scope: message::scope().encode_to_vec(),
            used: Vec::new(),
            body: BytesMut::new(),
        };
        let tasks = [runtime.spawn(metrics.run(stopped.clone())), runtime.spawn(spans.run(stopped))];
        Ok(Self { observer, waiting, sampling, tasks, stop, config })
    }

    /// What to give to [`ClientBuilder::observer`](nudj_client::ClientBuilder::observer), and to watch handles with: it counts, and
    /// exports the spans of calls and attempts.
    #[must_use]
    pub fn observer(&self) -> &MetricsObserver {
        &self.observer
    }

    /// A layer for the process's subscriber, which exports the spans of calls that came in. Only services that mount
    /// [`CorrelationServerLayer`](nudj_tower::correlation::CorrelationServerLayer) have any.
    #[must_use]
    pub fn layer(&self) -> SpanLayer {
        SpanLayer::new(Arc::clone(&self.waiting), self.sampling)
    }

    /// Sends what has not been sent, and ends the exports. Dropping an [`Otlp`] instead leaves that to the runtime, if it lives on.
    ///
    /// # Errors
    /// [`OtlpError::Shutdown`] when that was not done within the timeout.
    pub async fn shutdown(self) -> Result<(), OtlpError> {
        let Self { tasks: [metrics, spans], stop, config, .. } = self;
        drop(stop);
        let within =
            async |mut task: JoinHandle<Result<(), ExportError>>| match tokio::time::timeout(config.timeout, &mut task)
                .await
            {
                Ok(Ok(ended)) => ended,
                Ok(Err(_)) => Err(ExportError::Timeout),
                Err(_) => {
                    task.abort();
                    Err(ExportError::Timeout)
                }
            };
        let (metrics, spans) = tokio::join!(within(metrics), within(spans));
        Ok(metrics.and(spans)?)
    }
}

struct Metrics {
    sender: Sender,
    observer: WeakObserver,
    totals: Arc<Totals>,
    interval: Duration,
    service_name: String,
}

impl Metrics {
    async fn run(self, mut stopped: watch::Receiver<()>) -> Result<(), ExportError> {
        loop {
            let is_last = select! {
                _ = stopped.changed() => true,
                () = sleep(self.interval) => false,
            };
            let sent = self.sender.send(&self.body()).await;
            if is_last {
                return sent;
            }
            if let Err(error) = sent {
                tracing::warn!(%error, "metrics could not be exported; the next export has them");
            }
        }
    }

    fn body(&self) -> Bytes {
        // What has to be asked for is asked now.
        if let Some(observer) = self.observer.upgrade() {
            observer.refresh();
        }
        let metrics = self.totals.metrics(unix_nanos(wall_clock()));
        let scope_metrics = vec![ScopeMetrics { scope: Some(message::scope()), metrics }];
        let resource = Some(message::resource(&self.service_name));
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics }];
        ExportMetrics { resource_metrics }.encode_to_vec().into()
    }
}

struct Spans {
    sender: Sender,
    waiting: Arc<Waiting>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// Memory of the batch before, and of its export.
    used: Vec<u8>,
    body: BytesMut,
}

impl Spans {
    async fn run(mut self, mut stopped: watch::Receiver<()>) -> Result<(), ExportError> {
        loop {
            let is_last = select! {
                _ = stopped.changed() => true,
                () = self.waiting.enough.notified() => false,
                () = sleep(SPANS_EVERY) => false,
            };
            if is_last {
                self.waiting.close();
            }
            let sent = self.export().await;
            if is_last {
                return sent;
            }
        }
    }

    async fn export(&mut self) -> Result<(), ExportError> {
        let batch = self.waiting.take(std::mem::take(&mut self.used));
        let mut sent = Ok(());
        if batch.count > 0 {
            let mut body = std::mem::take(&mut self.body);
            body.clear();
            body.extend_from_slice(&encode::head(&self.resource, &self.scope, batch.bytes.len()));
            body.extend_from_slice(&batch.bytes);
            let body = body.freeze();
            sent = self.sender.send(&body).await;
            // Its memory is used again, unless somebody holds on to it.
            self.body = body.try_into_mut().unwrap_or_default();
        }
        if let Err(error) = &sent {
            tracing::warn!(%error, lost = batch.count, "spans could not be exported");
        }
        if batch.dropped > 0 {
            tracing::warn!(lost = batch.dropped, "spans found no room in the queue of those to be exported");
        }
        self.used = batch.bytes;
        sent
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("config", &self.config).finish_non_exhaustive()
    }
}
