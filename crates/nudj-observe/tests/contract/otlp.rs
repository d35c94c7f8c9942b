//! Exports to something that receives and decodes them as a collector does.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    routing::post,
};
use nudj_mock::{Fault, MockNudj};
use nudj_observe::{
    metrics::CacheLevel,
    otlp::{ExportError, Headers, Otlp, OtlpConfig, OtlpError},
};
use nudj_tower::{
    CallContext, CallSpan, SpanId, TraceContext,
    classify::Outcome,
    correlation::CorrelationServerLayer,
    observe::{Event, Observer, TracedAttempt, Went},
};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
    trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::Notify};
use tower::ServiceExt;
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
pub(crate) struct Collector {
    received: Arc<Mutex<Received>>,
    pub(crate) arrived: Arc<Notify>,
}

impl Collector {
    pub(crate) async fn start(&self) -> OtlpConfig {
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
    pub(crate) fn metrics(&self) -> BTreeMap<String, Metric> {
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
pub(crate) fn points(metric: &Metric) -> Vec<(BTreeMap<&str, String>, f64)> {
    let points = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert_eq!(sum.is_monotonic, metric.name != "http.client.active_requests", "{metric:?}");
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
    let active = &metrics["http.client.active_requests"];
    assert!(matches!(&active.data, Some(Data::Sum(_))), "goes up and down: {active:?}");
    assert_eq!((active.unit.as_str(), points(active)[0].1), ("{request}", 0.0));
    let states = points(&metrics["nudj_circuit_breaker_state"]);
    let ones: Vec<_> =
        states.iter().filter(|(_, value)| *value == 1.0).map(|(labels, _)| labels["state"].as_str()).collect();
    assert_eq!((states.len(), ones), (6, vec!["closed"]));
    assert_eq!(
        points(&metrics["nudj_cache_hits"])[0].1,
        9.0,
        "read again at the export; what was read before counts once"
    );
    assert!(!shown.contains("canary") && shown.contains("x-key"), "{shown}");
    assert!(collector.received.lock().unwrap().headers.iter().all(|headers| headers["x-key"] == "canary"));
}

#[tokio::test]
async fn a_trace_has_the_ids_that_went_over_the_wire() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let otlp = Otlp::start(collector.start().await).unwrap();
    let client = client(&mock, otlp.observer().clone());
    mock.inject(Fault::status(503).times(1));
    client.integration().me().get().await.unwrap();
    otlp.shutdown().await.unwrap();

    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "{spans:?}");
    let call = spans.iter().find(|span| span.parent_span_id.is_empty()).unwrap();
    assert_eq!((call.name.as_str(), call.kind), ("GET /api/v2/integration/me", 1));
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
        assert_eq!(labels["http.request.method"], "GET");
        assert_eq!(labels["url.template"], "/api/v2/integration/me");
        assert_eq!(labels["server.address"], "127.0.0.1");
        assert_eq!(labels.get("http.request.resend_count").map(String::as_str), (number > 0).then_some("1"));
        assert!(!labels.contains_key("span_id") && !labels.contains_key("otel.name"));
    }
    let labels = attributes(&call.attributes);
    assert_eq!(labels["correlation_id"], mock.requests()[0].header("x-correlation-id").unwrap());
    assert!(
        call.start_time_unix_nano > 1_700_000_000_000_000_000 && call.end_time_unix_nano > call.start_time_unix_nano
    );
}

/// What came in with this `traceparent` is answered after a call that goes out with it, and exported.
async fn served(traceparent: Option<&str>, sample: f64) -> (Vec<Span>, String) {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let otlp = Otlp::start(OtlpConfig { sample, ..collector.start().await }).unwrap();
    let client = client(&mock, otlp.observer().clone());
    let handler = move || {
        let client = client.clone();
        async move { client.integration().me().get().await.map_or(500, |_| 200u16).to_string() }
    };
    let app: Router = Router::new().route("/", axum::routing::get(handler)).layer(CorrelationServerLayer::new());
    let mut request = Request::get("/").body(axum::body::Body::empty()).unwrap();
    if let Some(traceparent) = traceparent {
        request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    let calls = async {
        tracing::info_span!("somebody else's").in_scope(|| ());
        assert_eq!(app.oneshot(request).await.unwrap().status(), 200);
    };
    calls.with_subscriber(tracing_subscriber::registry().with(otlp.layer())).await;
    otlp.shutdown().await.unwrap();
    let sent = mock.requests()[0].header("traceparent").unwrap().to_owned();
    (collector.spans(), sent)
}

#[tokio::test]
async fn a_trace_goes_on_from_who_calls_through_the_handler_to_the_attempt() {
    let (spans, sent) = served(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), 0.0).await;
    assert_eq!(spans.len(), 3, "a sampled trace is kept whatever share of our own is: {spans:?}");
    let below = |parent: &[u8]| spans.iter().find(|span| span.parent_span_id == parent).unwrap();
    let request = below(&0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(
        (request.name.as_str(), request.kind, request.flags),
        ("GET", 2, 0x301),
        "a server's, its parent elsewhere"
    );
    let labels = attributes(&request.attributes);
    assert_eq!((labels["http.request.method"].as_str(), labels["http.response.status_code"].as_str()), ("GET", "200"));
    assert!(!labels.contains_key("sampled") && !labels.contains_key("trace_id"), "{labels:?}");
    let call = below(&request.span_id);
    assert_eq!((call.name.as_str(), call.kind), ("GET /api/v2/integration/me", 1), "its attempts are a client's");
    let attempt = below(&call.span_id);
    let id: String = attempt.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sent, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01"));
    assert!(spans.iter().all(|span| span.trace_id == request.trace_id));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_sent_on_and_not_exported() {
    let (spans, sent) = served(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), 1.0).await;
    assert!(spans.is_empty() && sent.ends_with("-00"), "{spans:?} {sent}");
}

#[tokio::test]
async fn of_what_begins_here_the_share_is_exported() {
    assert_eq!(served(None, 0.0).await.0, []);
    let (spans, _) = served(None, 1.0).await;
    assert_eq!(spans.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1, "one root: {spans:?}");
    assert_eq!(spans.len(), 3);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_when_it_says_and_one_that_refuses_is_not() {
    for (status, is_asked_again) in [(429, true), (503, true), (400, false), (401, false)] {
        let asked: Arc<Mutex<Vec<(String, tokio::time::Instant)>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let answer = async move |request: axum::extract::Request| {
            let mut seen = seen.lock().unwrap();
            seen.push((request.uri().path().to_owned(), tokio::time::Instant::now()));
            let is_first = seen.iter().filter(|(path, _)| path == request.uri().path()).count() == 1;
            (StatusCode::from_u16(if is_first { status } else { 200 }).unwrap(), [("retry-after", "1")])
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        let otlp = Otlp::start(OtlpConfig { endpoint, ..OtlpConfig::default() }).unwrap();
        let ended = otlp.shutdown().await;
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|(path, _)| path == "/v1/metrics"), "there were no spans: {asked:?}");
        match ended {
            Ok(()) => {
                assert!(is_asked_again && asked.len() == 2, "{status}: {asked:?}");
                assert!(asked[1].1 - asked[0].1 >= Duration::from_secs(1), "{asked:?}");
            }
            Err(OtlpError::Shutdown(ExportError::Refused(refused))) => {
                assert_eq!((refused, is_asked_again, asked.len()), (status, false, 1));
            }
            Err(error) => panic!("{status}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn half_a_full_queue_is_sent_before_its_time() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let otlp = Otlp::start(OtlpConfig { queue: 4, ..collector.start().await }).unwrap();
    client(&mock, otlp.observer().clone()).integration().me().get().await.unwrap();
    collector.arrived.notified().await;
    assert_eq!(collector.spans().len(), 2);
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

pub(crate) fn observe_spans(otlp: &Otlp, count: usize) {
    let (context, now) = (CallContext::new(), tokio::time::Instant::now());
    context.set_ids("id".parse().unwrap(), TraceContext::start(&mut fastrand::Rng::new()));
    context.set_span(CallSpan { id: SpanId::new(1).unwrap(), parent: None, begins_here: true });
    let (context, method, outcome, status) = (&context, Some("GET"), Some(Outcome::Success), Some(200));
    for _ in 0..count {
        let (error, duration, at, attempts) = (None, Duration::from_millis(1), now, Some(&[][..]));
        let ended = Event::CallEnded { context, method, outcome, status, error, duration, at, attempts };
        otlp.observer().observe(&ended);
    }
}

#[tokio::test]
async fn an_attempt_that_tells_of_itself_is_exported_below_its_call() {
    let collector = Collector::default();
    let otlp = Otlp::start(collector.start().await).unwrap();
    let context = CallContext::new();
    context.set_ids("id".parse().unwrap(), TraceContext::start(&mut fastrand::Rng::new()));
    context.set_span(CallSpan { id: SpanId::new(1).unwrap(), parent: None, begins_here: true });
    let (id, start) = (SpanId::new(2).unwrap(), tokio::time::Instant::now());
    let (resends, method, status, error, went) = (0, "GET", None, Some("cancelled"), Went::Nowhere);
    let attempt = TracedAttempt { id, resends, method, status, error, went, start, end: start };
    otlp.observer().observe(&Event::AttemptTraced { context: &context, attempt: &attempt });
    otlp.shutdown().await.unwrap();
    let spans = collector.spans();
    assert_eq!((spans.len(), spans[0].span_id[7], spans[0].parent_span_id[7], spans[0].kind), (1, 2, 1, 3));
}

#[tokio::test]
async fn dropped_without_a_shutdown_it_sends_what_is_left_batch_after_batch() {
    let collector = Collector::default();
    let otlp = Otlp::start(OtlpConfig { queue: 4, ..collector.start().await }).unwrap();
    for sent in [2, 4, 6] {
        observe_spans(&otlp, 2);
        collector.arrived.notified().await;
        assert_eq!(collector.spans().len(), sent);
    }
    otlp.observer().observe(&Event::RetryBudgetExhausted);
    assert_eq!(otlp.lost_spans(), 0);
    drop(otlp);
    collector.arrived.notified().await;
    assert_eq!(points(&collector.metrics()["nudj_retry_budget_exhausted"])[0].1, 1.0);
}

#[tokio::test]
async fn more_than_so_many_a_second_lessen_the_share_that_is_exported() {
    let collector = Collector::default();
    let otlp = Otlp::start(OtlpConfig { spans_per_second: 8, ..collector.start().await }).unwrap();
    assert_eq!(otlp.share(), 1.0);
    observe_spans(&otlp, 512);
    collector.arrived.notified().await;
    assert!(otlp.share() < 1.0, "{}", otlp.share());
    otlp.shutdown().await.unwrap();
    let any = Otlp::start(OtlpConfig { spans_per_second: 0, ..collector.start().await }).unwrap();
    observe_spans(&any, 512);
    collector.arrived.notified().await;
    assert_eq!(any.share(), 1.0);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = OtlpConfig { endpoint, timeout: Duration::from_millis(200), ..OtlpConfig::default() };
    let otlp = Otlp::start(config).unwrap();
    observe_spans(&otlp, 10_000);
    assert!(otlp.lost_spans() > 0);
    let ended = tokio::time::timeout(Duration::from_secs(20), otlp.shutdown()).await;
    ended.expect("it ends").expect_err("and says that the last was lost");
}
