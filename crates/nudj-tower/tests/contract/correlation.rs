use std::{
    convert::Infallible,
    future::{pending, ready},
    sync::Arc,
    task::Poll,
};

use axum::{Router, routing::get};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use nudj_tower::{
    BoxError, CallContext, Rejection, Route, TraceContext,
    correlation::{self, CORRELATION_ID, CorrelationLayer, CorrelationServerLayer},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Registry, layer::SubscriberExt, registry::LookupSpan};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Answers with the headers that arrived.
fn echo() -> impl Service<Request<()>, Response = Response<HeaderMap>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| ready(Ok(Response::new(request.headers().clone()))))
}

/// A task's future polled once, outside of any runtime.
fn now<F: Future>(future: F) -> F::Output {
    match tokio_test::task::spawn(future).poll() {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready at once"),
    }
}

#[test]
fn the_context_and_the_request_carry_the_same_ids() {
    let mut service = CorrelationLayer::new().layer(service_fn(|request: Request<()>| {
        let context = CallContext::find(request.extensions()).expect("made by the layer").clone();
        ready(Ok::<_, Infallible>(Response::new((context, request.headers().clone()))))
    }));
    let (context, headers) = now(service.call(Request::new(()))).unwrap().into_body();
    assert_eq!(context.correlation_id().as_ref(), headers.get(CORRELATION_ID));
    let sent = TraceContext::parse(headers["traceparent"].as_bytes()).unwrap();
    assert_eq!(context.trace().unwrap().trace_id, sent.trace_id);
    assert_eq!(context.take_first_attempt(), Some(sent.parent));
}

#[test]
fn an_existing_context_is_written_to() {
    let context = CallContext::new();
    let mut request = Request::new(());
    request.extensions_mut().insert(context.clone());
    request.headers_mut().insert(CORRELATION_ID, HeaderValue::from_static("mine"));
    now(CorrelationLayer::new().layer(echo()).call(request)).unwrap();
    assert_eq!(context.correlation_id().unwrap(), "mine");
}

#[test]
fn clones_never_draw_the_same_ids_and_a_seed_repeats_them() {
    let ids = |layer: &CorrelationLayer| {
        let service = layer.layer(echo());
        let mut clones = [service.clone(), service.clone(), service];
        let mut seen: Vec<_> = clones
            .iter_mut()
            .flat_map(|service| {
                [now(service.call(Request::new(()))).unwrap(), now(service.call(Request::new(()))).unwrap()]
            })
            .map(|answer| answer.body()["traceparent"].to_str().unwrap().to_owned())
            .collect();
        let drawn = seen.clone();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 6);
        drawn
    };
    assert_ne!(ids(&CorrelationLayer::new()), ids(&CorrelationLayer::new()));
    assert_eq!(ids(&CorrelationLayer::seeded(3)), ids(&CorrelationLayer::seeded(3)));
}

#[tokio::test]
async fn a_handlers_calls_carry_the_id_and_the_trace_that_came_in() {
    let client = CorrelationLayer::new().layer(echo());
    let app = Router::new()
        .route(
            "/",
            get(move || {
                let client = client.clone();
                async move {
                    tokio::task::yield_now().await;
                    let sent = client.oneshot(Request::new(())).await.unwrap().into_body();
                    format!("{} {}", sent[CORRELATION_ID].to_str().unwrap(), sent["traceparent"].to_str().unwrap())
                }
            }),
        )
        .layer(CorrelationServerLayer::new());
    let request = Request::builder().header(CORRELATION_ID, "order-17").header("traceparent", PARENT);
    let answer = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()[CORRELATION_ID], "order-17");
    let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
    let (id, parent) = std::str::from_utf8(&body).unwrap().split_once(' ').unwrap();
    assert_eq!(id, "order-17");
    assert!(parent.starts_with(&PARENT[..36]) && parent != PARENT, "same trace, another span: {parent}");
    assert!(correlation::current().is_none() && correlation::current_trace().is_none());
}

#[tokio::test]
async fn a_handler_that_forwards_its_headers_forwards_nothing_bad() {
    let gateway = CorrelationServerLayer::new().layer(service_fn(|request: Request<()>| async move {
        let seen = request.headers().clone();
        let sent = CorrelationLayer::new().layer(echo()).oneshot(request).await.unwrap().into_body();
        let trace = correlation::current_trace().unwrap();
        assert!(sent["traceparent"].to_str().unwrap().contains(&format!("{:032x}", trace.trace_id.get())));
        assert_eq!(sent[CORRELATION_ID], correlation::current().unwrap());
        Ok::<_, Infallible>(Response::new(seen))
    }));
    let request =
        Request::builder().header(CORRELATION_ID, "a\tb").header("traceparent", "x").header("tracestate", "v=1");
    let answer = gateway.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()[CORRELATION_ID], answer.body()[CORRELATION_ID]);
    assert!(!answer.body().contains_key("traceparent") && !answer.body().contains_key("tracestate"));
}

#[tokio::test]
async fn an_echoed_id_replaces_what_the_handler_set() {
    let mut service = CorrelationServerLayer::new().layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::builder().header(CORRELATION_ID, "else").body(()).unwrap())
    }));
    let answer = service.call(Request::builder().header(CORRELATION_ID, "a").body(()).unwrap()).await.unwrap();
    assert_eq!(answer.headers().get_all(CORRELATION_ID).iter().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn the_readied_instance_is_called_and_errors_stay_what_they_are() {
    #[derive(Debug, PartialEq)]
    struct Mine;
    let failing = service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(Mine)));
    let mut client = CorrelationLayer::new().layer(ConcurrencyLimitLayer::new(1).layer(failing));
    let mut server = CorrelationServerLayer::new().layer(ConcurrencyLimitLayer::new(1).layer(failing));
    for _ in 0..3 {
        assert!(now(std::future::poll_fn(|cx| Service::<Request<()>>::poll_ready(&mut client, cx))).is_ok());
        assert_eq!(now(client.call(Request::new(()))).unwrap_err(), Mine);
        assert!(now(std::future::poll_fn(|cx| Service::<Request<()>>::poll_ready(&mut server, cx))).is_ok());
        assert_eq!(now(server.call(Request::new(()))).unwrap_err(), Mine);
    }
}

#[test]
fn a_dropped_call_drops_what_is_below() {
    let alive = Arc::new(());
    for poll in [false, true] {
        let held = Arc::clone(&alive);
        let mut service =
            CorrelationServerLayer::new().layer(CorrelationLayer::new().layer(service_fn(move |_: Request<()>| {
                let held = Arc::clone(&held);
                async move { pending::<Result<Response<Arc<()>>, Infallible>>().await.map(|_| Response::new(held)) }
            })));
        let mut call = tokio_test::task::spawn(service.call(Request::new(())));
        if poll {
            assert!(call.poll().is_pending());
        }
        drop(call);
        drop(service);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        _: &span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.lock().push(format!("span={}", attributes.metadata().name()));
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        values.record(&mut self.clone());
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
        let span = context.event_span(event).map(|span| span.name());
        self.0.lock().push(format!("event in {span:?}"));
    }
}

impl Visit for Spans {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push(format!("{}={value:?}", field.name()));
    }
}

fn spans(run: impl FnOnce()) -> Vec<String> {
    let spans = Spans::default();
    tracing::subscriber::with_default(Registry::default().with(spans.clone()), run);
    spans.0.lock().clone()
}

#[test]
fn the_span_follows_the_conventions_and_names_nobody() {
    let seen = spans(|| {
        let mut service = CorrelationLayer::new().layer(service_fn(|_: Request<()>| async {
            tracing::info!("below");
            Ok::<_, Infallible>(Response::builder().status(StatusCode::NOT_FOUND).body(()).unwrap())
        }));
        let mut request = Request::get("http://acme.nudj.cx/api/v2/users/alice?token=secret").body(()).unwrap();
        request.headers_mut().insert(CORRELATION_ID, HeaderValue::from_static("order-17"));
        CallContext::get_or_insert(request.extensions_mut())
            .set_route(Route { operation: "getUser", template: "/users/{id}" });
        now(service.call(request)).unwrap();
    });
    for line in [
        "span=http_call",
        "otel.name=GET /users/{id}",
        "otel.kind=\"internal\"",
        "http.request.method=\"GET\"",
        "url.template=\"/users/{id}\"",
        "server.address=\"acme.nudj.cx\"",
        "correlation_id=\"order-17\"",
        "event in Some(\"http_call\")",
        "http.response.status_code=404",
        "error.type=\"404\"",
    ] {
        assert!(seen.iter().any(|seen| seen == line), "{line} is missing in {seen:#?}");
    }
    assert!(!seen.iter().any(|line| line.contains("alice") || line.contains("secret")), "{seen:#?}");
}

#[test]
fn the_servers_span_holds_the_handlers_lines_and_a_404_is_no_error_there() {
    let seen = spans(|| {
        let mut service = CorrelationServerLayer::new().layer(service_fn(|_: Request<()>| async {
            tracing::info!("in the handler");
            Ok::<_, Infallible>(Response::builder().status(StatusCode::NOT_FOUND).body(()).unwrap())
        }));
        let request = Request::builder().method("BREW\u{23}X").header(CORRELATION_ID, "a\u{9}b").body(()).unwrap();
        now(service.call(request)).unwrap();
    });
    for line in
        ["otel.name=HTTP", "otel.kind=\"server\"", "http.request.method=\"_OTHER\"", "event in Some(\"http_request\")"]
    {
        assert!(seen.iter().any(|seen| seen == line), "{line} is missing in {seen:#?}");
    }
    assert!(!seen.iter().any(|line| line.contains("BREW") || line.contains("a\tb") || line.starts_with("error.type")));
}

#[test]
fn errors_are_named_by_kind_however_they_are_wrapped() {
    fn kind<E: 'static>(error: impl Fn() -> E) -> Vec<String> {
        let lines = spans(|| {
            let mut service =
                CorrelationLayer::new().layer(service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(error()))));
            assert!(now(service.call(Request::new(()))).is_err());
        });
        lines.into_iter().filter(|line| line.starts_with("error.type")).collect()
    }
    assert_eq!(
        kind(|| BoxError::from(Rejection::QueueFull { limit: 1, retry_after: None })),
        ["error.type=\"rate_limited\""]
    );
    assert_eq!(kind(|| Rejection::NoEndpoint), ["error.type=\"no_endpoint\""]);
    assert_eq!(kind(|| BoxError::from("else")), ["error.type=\"_OTHER\""]);
    assert_eq!(kind(|| 3), ["error.type=\"_OTHER\""]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// FINDINGS row 9: whatever a caller sends, one log line per call, and none of it in a line.
    #[test]
    fn a_hostile_id_writes_nothing_into_logs_and_headers(id in prop_oneof![
        prop::collection::vec(any::<u8>(), 1..200),
        "[\\x09 -~]{1,40}".prop_map(String::into_bytes),
        Just(vec![b'a'; 4096]),
        Just(b"x\x9b2J".to_vec()),
        Just(b"caf\xe9".to_vec()),
        Just(b"a\tb".to_vec()),
    ]) {
        let Ok(header) = HeaderValue::from_bytes(&id) else { return Ok(()) };
        let accepted = (1..=128).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        let mut echoed = None;
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = { let log = Arc::clone(&log); move || LogWriter(Arc::clone(&log)) };
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            let inner = CorrelationLayer::new().layer(service_fn(|request: Request<()>| async move {
                tracing::info!("sent");
                Ok::<_, Infallible>(Response::new(request.headers()[CORRELATION_ID].clone()))
            }));
            let mut service = CorrelationServerLayer::new().layer(inner);
            echoed = Some(now(service.call(Request::builder().header(CORRELATION_ID, header).body(()).unwrap())).unwrap());
        });
        let echoed = echoed.unwrap();
        prop_assert_eq!(&echoed.headers()[CORRELATION_ID], echoed.body());
        prop_assert_eq!(echoed.body().as_bytes() == id, accepted);
        let log = String::from_utf8(log.lock().clone()).unwrap();
        prop_assert_eq!(log.lines().count(), 1);
        prop_assert!(log.contains(echoed.body().to_str().unwrap()));
    }
}

struct LogWriter(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
