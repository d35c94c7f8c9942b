//! What starts, feeds and ends the exports.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{
    join,
    runtime::Handle,
    select,
    sync::{oneshot, watch},
    time::sleep,
};

use super::{
    config::{ExportError, OtlpConfig, OtlpError},
    encode,
    layer::SpanLayer,
    message::{self, ExportMetrics, ResourceMetrics, ScopeMetrics},
    recorder::Totals,
    rejected::Rejected,
    sampling::{Pace, Sampling},
    traces::Traces,
    transport::Sender,
    waiting::{Waiting, unix_nanos, wall_clock},
};
use crate::metrics::{MetricsObserver, STATES, WeakObserver};

/// Spans wait no longer than this, unless the collector is away.
const SPANS_EVERY: Duration = Duration::from_secs(5);

/// Exports to a collector until it is shut down. See the [module's page](super).
pub struct Otlp {
    observer: MetricsObserver,
    waiting: Arc<Waiting>,
    sampling: Arc<Sampling>,
    /// Dropped, it ends the exports after a last one.
    stop: watch::Sender<()>,
    ended: oneshot::Receiver<Result<(), ExportError>>,
    config: OtlpConfig,
}

impl Otlp {
    /// Starts a task on the runtime that this is called in, which exports.
    ///
    /// # Errors
    /// [`OtlpError`]. That the collector does not answer is none: exports are tried again, and what is too much is dropped.
    pub fn start(config: OtlpConfig) -> Result<Self, OtlpError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| OtlpError::NoRuntime)?;
        let (resource, scope) =
            (message::resource(&config.service_name).encode_to_vec(), message::scope().encode_to_vec());
        let room = encode::longest_head(&resource, &scope);
        let waiting = Arc::new(Waiting::new(config.queue, room));
        let sampling = Arc::new(Sampling::of(config.sample));
        let limit = Some(u64::from(config.spans_per_second)).filter(|limit| *limit > 0);
        let pace = limit.map(|limit| Pace::new(Arc::clone(&sampling), limit));
        let totals = Arc::new(Totals::new(unix_nanos(wall_clock())));
        let traces = Traces::new(Arc::clone(&waiting), Arc::clone(&sampling));
        let observer = MetricsObserver::tracing(totals.clone(), Arc::new(traces));
        let metrics = Metrics {
            sender: Sender::new(&config, "/v1/metrics")?,
            observer: observer.downgrade(),
            totals,
            interval: config.interval,
            service_name: config.service_name.clone(),
        };
        let sender = Sender::new(&config, "/v1/traces")?;
        let (used, rejected) = (Vec::new(), Rejected::default());
        let spans = Spans { sender, waiting: Arc::clone(&waiting), pace, resource, scope, room, used, rejected };
        let (stop, stopped) = watch::channel(());
        let (tell, ended) = oneshot::channel();
        let exports = run(metrics, spans, stopped, config.timeout);
        // Nobody may be there to be told.
        runtime.spawn(async { drop(tell.send(exports.await)) });
        Ok(Self { observer, waiting, sampling, stop, ended, config })
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
        SpanLayer::new(Arc::clone(&self.waiting), Arc::clone(&self.sampling))
    }

    /// How many spans were lost so far: they found no room in the queue, or the collector did not take them.
    #[must_use]
    pub fn lost_spans(&self) -> u64 {
        self.waiting.lost_so_far()
    }

    /// The share of the traces that begin here which is exported now: [`OtlpConfig::sample`], or less while there are too many spans.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.sampling.share()
    }

    /// Sends what has not been sent, and ends the exports. Dropping an [`Otlp`] instead, or this future, leaves that to the runtime,
    /// if it lives on.
    ///
    /// # Errors
    /// [`OtlpError::Shutdown`] when that was not done within the timeout.
    pub async fn shutdown(self) -> Result<(), OtlpError> {
        drop(self.stop);
        Ok(self.ended.await.unwrap_or(Err(ExportError::Timeout))?)
    }
}

/// All exports, until they are stopped, and then no longer than `patience`.
async fn run(
    metrics: Metrics,
    spans: Spans,
    stopped: watch::Receiver<()>,
    patience: Duration,
) -> Result<(), ExportError> {
    let mut asked = stopped.clone();
    let mut exports = pin!(async { join!(metrics.run(stopped.clone()), spans.run(stopped)) });
    let out_of_time = async {
        let _ = asked.changed().await;
        sleep(patience).await;
    };
    select! {
        (metrics, spans) = &mut exports => metrics.and(spans),
        () = out_of_time => Err(ExportError::Timeout),
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
        let mut rejected = Rejected::default();
        loop {
            let is_last = select! {
                _ = stopped.changed() => true,
                () = sleep(self.interval) => false,
            };
            let sent = self.sender.send(&self.body()).await;
            if let Ok(answer) = &sent {
                // Their number is not known here, and nobody asks.
                rejected.note(answer, usize::MAX, "points of metrics");
            }
            if is_last {
                return sent.map(drop);
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
        let metrics = {
            let _states = STATES.lock();
            self.totals.metrics(unix_nanos(wall_clock()))
        };
        let scope_metrics = vec![ScopeMetrics { scope: Some(message::scope()), metrics }];
        let resource = Some(message::resource(&self.service_name));
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics }];
        ExportMetrics { resource_metrics }.encode_to_vec().into()
    }
}

struct Spans {
    sender: Sender,
    waiting: Arc<Waiting>,
    /// Where the spans of a second are bounded.
    pace: Option<Pace>,
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// So much is free before the spans of a batch.
    room: usize,
    /// Memory of the batch before.
    used: Vec<u8>,
    rejected: Rejected,
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
        let mut batch = self.waiting.take(std::mem::take(&mut self.used));
        if let Some(pace) = &mut self.pace {
            pace.note(batch.own);
        }
        let mut sent = Ok(());
        if batch.count > 0 {
            // The head goes right before the spans, which are not copied.
            let head = encode::head(&self.resource, &self.scope, batch.bytes.len().saturating_sub(self.room));
            let start = self.room.saturating_sub(head.len());
            if let Some(place) = batch.bytes.get_mut(start..self.room) {
                place.copy_from_slice(&head);
            }
            let whole = Bytes::from(batch.bytes);
            let answer = self.sender.send(&whole.slice(start..)).await;
            sent = answer.map(|answer| self.waiting.lost(self.rejected.note(&answer, batch.count, "spans") as u64));
            // Its memory is used again, unless somebody holds on to it.
            let mut used = whole.try_into_mut().unwrap_or_default();
            used.clear();
            self.used = used.into();
        } else {
            self.used = batch.bytes;
        }
        if let Err(error) = &sent {
            self.waiting.lost(batch.count as u64);
            tracing::warn!(%error, lost = batch.count, "spans could not be exported");
        }
        if batch.dropped > 0 {
            tracing::warn!(lost = batch.dropped, "spans found no room in the queue of those to be exported");
        }
        sent
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("config", &self.config).finish_non_exhaustive()
    }
}
