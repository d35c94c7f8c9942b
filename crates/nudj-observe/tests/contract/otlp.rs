//! Exports to something that receives and decodes them as a collector does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use nudj_mock::{Fault, MockNudj};
use nudj_observe::{
    metrics::CacheLevel,
    otlp::{Headers, Otlp, OtlpConfig, OtlpError},
};
use nudj_tower::observe::{Event, Observer};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::Notify};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::prelude::*;

use crate::client;

#[derive(Default)]
struct Received {
    metrics: Vec<ExportMetricsServiceRequest>,
    traces: Vec<ExportTraceServiceRequest>,
    headers: Vec<HeaderMap>,
}

/// Keeps what it was sent.
#[derive(Clone, Default)]
struct Collector {
    received: Arc<Mutex<Received>>,
    arrived: Arc<Notify>,
}

impl Collector {
    async fn start(&self) -> OtlpConfig {
        let metrics = async |State(this): State<Self>, headers: HeaderMap, body: Bytes| {
            let request = ExportMetricsServiceRequest::decode(body).unwrap();
            this.keep(headers, |received| received.metrics.push(request));
        };
        let traces = async |State(this): State<Self>, headers: HeaderMap, body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            this.keep(headers, |received| received.traces.push(request));
        };
        let router = Router::new().route("/v1/metrics", post(metrics)).route("/v1/traces", post(traces));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router.with_state(self.clone())).into_future());
        let key = [("x-key".to_owned(), "canary".into())];
        OtlpConfig { endpoint, service_name: "shop".into(), headers: Headers::new(key), ..OtlpConfig::default() }
    }

    fn keep(&self, headers: HeaderMap, keep: impl FnOnce(&mut Received)) {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let mut received = self.received.lock().unwrap();
        keep(&mut received);
        received.headers.push(headers);
        self.arrived.notify_one();
    }

    /// The last export's metrics by name.
    fn metrics(&self) -> BTreeMap<String, Metric> {
        let received = self.received.lock().unwrap();
        let resource = &received.metrics.last().unwrap().resource_metrics[0];
        let service = resource.resource.as_ref().unwrap().attributes.iter().find(|a| a.key == "service.name").unwrap();
        assert_eq!(text(service), "shop");
        let metrics = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics);
        metrics.map(|metric| (metric.name.clone(), metric.clone())).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received.traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).cloned().collect()
    }
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(of: &[KeyValue]) -> BTreeMap<&str, String> {
    of.iter().map(|attribute| (attribute.key.as_str(), text(attribute))).collect()
}

/// The number points of a sum or gauge: their attributes and values.
fn points(metric: &Metric) -> Vec<(BTreeMap<&str, String>, f64)> {
    let points = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic);
            &sum.data_points
        }
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    };
    let value = |value: &number_data_point::Value| match value {
        number_data_point::Value::AsInt(value) => f64::from(i32::try_from(*value).unwrap()),
        number_data_point::Value::AsDouble(value) => *value,
    };
    points.iter().map(|point| (attributes(&point.attributes), value(point.value.as_ref().unwrap()))).collect()
}

#[tokio::test]
async fn metrics_arrive_by_opentelemetrys_names() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let otlp = Otlp::start(collector.start().await).unwrap();
    let observer = otlp.observer();
    let client = client(&mock, observer.clone());
    observer.watch(client.handles());
    let hits = Arc::new(AtomicU64::new(7));
    let read = Arc::clone(&hits);
    observer
        .watch_cache(move || vec![CacheLevel { name: "memory", hits: read.load(Relaxed), ..CacheLevel::default() }]);
    for _ in 0..3 {
        client.integration().me().get().await.unwrap();
    }
    observer.refresh();
    hits.store(9, Relaxed);
    let shown = format!("{otlp:?}");
    otlp.shutdown().await.unwrap();

    let metrics = collector.metrics();
    let duration = &metrics["http.client.request.duration"];
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("{duration:?}") };
    assert_eq!(histogram.data_points[0].count, 3);
    assert_eq!(histogram.data_points[0].explicit_bounds.len(), 14);
    let labels = attributes(&histogram.data_points[0].attributes);
    assert_eq!(labels["http.request.method"], "GET");
    assert_eq!(labels["url.template"], "/api/v2/integration/me");
    assert_eq!(labels["http.response.status_code"], "200");
    assert_eq!(labels["server.address"], "127.0.0.1");
    let requests = points(&metrics["nudj_api_requests"]);
    assert_eq!(requests, [(BTreeMap::from([("operation", "getMe".into()), ("status", "200".into())]), 3.0)]);
    assert_eq!(points(&metrics["http.client.active_requests"])[0].1, 0.0);
    let states = points(&metrics["nudj_circuit_breaker_state"]);
    let ones: Vec<_> =
        states.iter().filter(|(_, value)| *value == 1.0).map(|(labels, _)| labels["state"].as_str()).collect();
    assert_eq!((states.len(), ones), (6, vec!["closed"]));
    assert_eq!(
        points(&metrics["nudj_cache_hits"])[0].1,
        9.0,
        "read again at the export; what was read before counts once"
    );
    assert!(!metrics.contains_key("nudj_refresh"), "the callback observes nothing");
    assert!(!shown.contains("canary") && shown.contains("x-key"), "{shown}");
    assert!(collector.received.lock().unwrap().headers.iter().all(|headers| headers["x-key"] == "canary"));
}

#[tokio::test]
async fn a_trace_has_the_ids_that_went_over_the_wire() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let otlp = Otlp::start(collector.start().await).unwrap();
    let client = client(&mock, otlp.observer().clone());
    mock.inject(Fault::status(503).times(1));
    let calls = async {
        tracing::info_span!("somebody else's").in_scope(|| ());
        client.integration().me().get().await.unwrap();
    };
    calls.with_subscriber(tracing_subscriber::registry().with(otlp.layer())).await;
    otlp.shutdown().await.unwrap();

    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:?}");
    let call = spans.iter().find(|span| span.parent_span_id.is_empty()).unwrap();
    assert_eq!(call.name, "GET /api/v2/integration/me");
    let sent: Vec<_> =
        mock.requests().iter().map(|request| request.header("traceparent").unwrap().to_owned()).collect();
    assert_eq!(sent.len(), 2);
    for (number, traceparent) in sent.iter().enumerate() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let attempt = spans.iter().find(|span| traceparent.contains(&hex(&span.span_id))).unwrap();
        assert_eq!(traceparent.split('-').nth(1).unwrap(), hex(&attempt.trace_id));
        assert_eq!((&attempt.trace_id, &attempt.parent_span_id), (&call.trace_id, &call.span_id));
        assert_eq!(attempt.kind, 3, "a client's");
        assert!(attempt.end_time_unix_nano >= attempt.start_time_unix_nano && attempt.start_time_unix_nano > 0);
        let labels = attributes(&attempt.attributes);
        let (status, code) = if number == 0 { ("503", 2) } else { ("200", 0) };
        assert_eq!(labels["http.response.status_code"], status);
        assert_eq!(attempt.status.as_ref().map_or(0, |status| status.code), code);
        assert!(!labels.contains_key("span_id") && !labels.contains_key("otel.name"));
    }
}

#[tokio::test]
async fn metrics_are_sent_at_each_interval() {
    let collector = Collector::default();
    let config = OtlpConfig { interval: Duration::from_millis(20), ..collector.start().await };
    let otlp = Otlp::start(config).unwrap();
    otlp.observer().observe(&Event::RetryBudgetExhausted);
    collector.arrived.notified().await;
    collector.arrived.notified().await;
    assert_eq!(points(&collector.metrics()["nudj_retry_budget_exhausted"])[0].1, 1.0);
    otlp.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = OtlpConfig { endpoint, timeout: Duration::from_millis(200), ..OtlpConfig::default() };
    let otlp = Otlp::start(config).unwrap();
    let layer = otlp.layer();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for _ in 0..10_000 {
            tracing::info_span!(target: "nudj_tower::test", "http_call").in_scope(|| ());
        }
    });
    let ended = tokio::time::timeout(Duration::from_secs(20), otlp.shutdown()).await;
    ended.expect("it ends").expect_err("and says that the last was lost");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let with = |change: fn(&mut OtlpConfig)| {
        let mut config = OtlpConfig::default();
        change(&mut config);
        config.validate().unwrap_err().field().to_owned()
    };
    assert_eq!(with(|config| config.endpoint = "collector:4318".into()), "endpoint");
    assert_eq!(with(|config| config.interval = Duration::ZERO), "interval");
    assert_eq!(with(|config| config.timeout = Duration::ZERO), "timeout");
    assert_eq!(with(|config| config.queue = 0), "queue");
    assert_eq!(with(|config| config.headers = Headers::new([("a b".to_owned(), "x".into())])), "headers.a b");
    assert!(matches!(Otlp::start(OtlpConfig::default()), Err(OtlpError::NoRuntime)));
    let config: OtlpConfig = serde_json::from_str(r#"{"headers": {"x-key": "canary"}, "interval": "5s"}"#).unwrap();
    assert_eq!(config.interval, Duration::from_secs(5));
    assert!(!format!("{config:?}").contains("canary"));
}
