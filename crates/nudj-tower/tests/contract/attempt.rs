use std::{future::pending, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use nudj_tower::{
    BoxError, CallContext, Rejection, Route, SpanId, TraceContext,
    attempt::{AttemptLayer, RETRY_ATTEMPT},
};
use parking_lot::Mutex;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tracing::{Subscriber, field, span};
use tracing_subscriber::{Registry, layer::SubscriberExt, registry::LookupSpan};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Answers with the headers it was sent.
fn echo() -> impl Service<Request<()>, Response = Response<HeaderMap>, Error = BoxError, Future: Send> + Clone {
    service_fn(|request: Request<()>| async move { Ok(Response::new(request.headers().clone())) })
}

fn traced(state: Option<&'static str>) -> (Request<()>, CallContext) {
    let mut request = Request::new(());
    let context = CallContext::get_or_insert(request.extensions_mut());
    let mut trace = TraceContext::parse(PARENT.as_bytes()).unwrap();
    trace.tracestate = state.map(HeaderValue::from_static);
    context.set_ids(HeaderValue::from_static("id"), trace);
    (request, context)
}

async fn sent(request: &Request<()>) -> HeaderMap {
    AttemptLayer::new().layer(echo()).oneshot(request.clone()).await.unwrap().into_body()
}

#[tokio::test]
async fn each_attempt_has_its_own_span_id_in_the_same_trace() {
    let (request, context) = traced(Some("a=1"));
    let mut seen: Vec<SpanId> = vec![];
    for number in 0..4_u32 {
        if number > 0 {
            assert_eq!(context.count_resend(), number);
        }
        let headers = sent(&request).await;
        assert_eq!(headers["tracestate"], "a=1");
        let parent = TraceContext::parse(headers["traceparent"].as_bytes()).unwrap();
        assert_eq!(parent.trace_id, context.trace().unwrap().trace_id);
        assert!(!seen.contains(&parent.parent));
        seen.push(parent.parent);
        let repeat = headers.get(RETRY_ATTEMPT).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(repeat, (number > 0).then(|| number.to_string()));
    }
}

#[tokio::test]
async fn the_prepared_traceparent_goes_to_one_request_only() {
    let (mut request, context) = traced(None);
    // As the correlation layer leaves it.
    request.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
    context.set_first_attempt(TraceContext::parse(PARENT.as_bytes()).unwrap().parent);
    assert_eq!(sent(&request).await["traceparent"], PARENT);
    let twin = sent(&request).await;
    assert_ne!(twin["traceparent"], PARENT, "two requests of a call never share a span id");
    assert!(twin["traceparent"].to_str().unwrap().starts_with(&PARENT[..36]));
}

#[tokio::test]
async fn a_repeat_never_sends_the_first_attempts_span_id() {
    let (mut request, context) = traced(None);
    // As the correlation layer leaves it, in the request that retry clones.
    request.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
    context.count_resend();
    context.set_first_attempt(TraceContext::parse(PARENT.as_bytes()).unwrap().parent);
    assert_ne!(sent(&request).await["traceparent"], PARENT);
}

#[tokio::test]
async fn without_a_context_or_a_trace_no_header_is_added() {
    assert!(sent(&Request::new(())).await.is_empty());
    let mut request = Request::new(());
    CallContext::get_or_insert(request.extensions_mut());
    assert!(sent(&request).await.is_empty());
}

#[tokio::test]
async fn a_seed_makes_the_ids_repeat_and_clones_still_differ() {
    let run = async |seed| {
        let layer = AttemptLayer::seeded(seed);
        let (request, context) = traced(None);
        context.count_resend();
        let first = layer.layer(echo());
        let second = first.clone();
        let mut ids = vec![];
        for service in [first, second] {
            let headers = service.oneshot(request.clone()).await.unwrap().into_body();
            ids.push(headers["traceparent"].clone());
        }
        ids
    };
    let ids = run(7).await;
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids, run(7).await);
    assert_ne!(ids, run(8).await);
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl field::Visit for Spans {
    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push(format!("{field}={value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        _: &span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.lock().push(attributes.metadata().name().to_owned());
        attributes.record(&mut self.clone());
    }

    fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        values.record(&mut self.clone());
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
        self.0.lock().push(format!("event in {:?}", context.event_span(event).map(|span| span.name())));
    }
}

fn spans(run: impl FnOnce()) -> Vec<String> {
    let spans = Spans::default();
    tracing::subscriber::with_default(Registry::default().with(spans.clone()), run);
    spans.0.lock().clone()
}

fn end(result: Result<Response<()>, BoxError>) -> Vec<String> {
    let result = Mutex::new(Some(result));
    let lines = spans(|| {
        let service = service_fn(|_: Request<()>| std::future::ready(result.lock().take().unwrap()));
        let _ = task::spawn(AttemptLayer::new().layer(service).oneshot(Request::new(()))).poll();
    });
    lines.into_iter().filter(|line| line.starts_with("error.type") || line.contains("status_code")).collect()
}

#[test]
fn the_span_follows_the_conventions() {
    let seen = spans(|| {
        let (mut request, context) = traced(None);
        *request.method_mut() = http::Method::PUT;
        *request.uri_mut() = "https://acme.nudj.cx:8443/users/42?secret=1".parse().unwrap();
        context.set_route(Route { operation: "updateUser", template: "/users/{id}" });
        context.count_resend();
        context.set_first_attempt(TraceContext::parse(PARENT.as_bytes()).unwrap().parent);
        let service = service_fn(|_: Request<()>| {
            tracing::info!("called");
            async {
                tracing::info!("polled");
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let mut call = task::spawn(AttemptLayer::seeded(1).layer(service).oneshot(request));
        assert!(call.poll().is_ready());
    });
    for line in [
        "http_attempt",
        "otel.name=PUT /users/{id}",
        "otel.kind=\"client\"",
        "http.request.method=\"PUT\"",
        "url.template=\"/users/{id}\"",
        "server.address=\"acme.nudj.cx\"",
        "server.port=8443",
        "http.request.resend_count=1",
        "http.response.status_code=200",
    ] {
        assert!(seen.iter().any(|seen| seen == line), "{line} in {seen:#?}");
    }
    assert_eq!(seen.iter().filter(|line| *line == "event in Some(\"http_attempt\")").count(), 2, "{seen:#?}");
    let span_id = seen.iter().find_map(|line| line.strip_prefix("span_id=")).unwrap();
    assert_eq!(span_id.len(), 18, "{span_id}");
    assert!(!seen.iter().any(|line| line.contains("secret") || line.contains("42") || line.contains("error.type")));
}

#[test]
fn the_span_says_how_the_attempt_ended() {
    let status = |status| Ok(Response::builder().status(status).body(()).unwrap());
    assert_eq!(end(status(StatusCode::NO_CONTENT)), ["http.response.status_code=204"]);
    assert_eq!(end(status(StatusCode::NOT_FOUND)), ["http.response.status_code=404", "error.type=\"404\""]);
    assert_eq!(end(Err(Rejection::NoEndpoint.into())), ["error.type=\"no_endpoint\""]);
}

#[test]
fn a_dropped_attempt_is_cancelled_and_gives_its_permit_back() {
    let seen = spans(|| {
        let hung = service_fn(|_: Request<()>| pending::<Result<Response<()>, BoxError>>());
        let mut service = AttemptLayer::new().layer(ConcurrencyLimit::new(hung, 1));
        let mut ready = service.clone();
        let mut first = task::spawn(async { ready.ready().await.unwrap().call(Request::new(())).await });
        assert_pending!(first.poll());
        let mut waits = task::spawn(async { service.ready().await.map(drop) });
        assert_pending!(waits.poll());
        drop(first);
        assert!(waits.is_woken(), "whoever waits for the permit is woken");
    });
    assert_eq!(seen.last().unwrap(), "error.type=\"cancelled\"");
}

#[tokio::test]
async fn nothing_needs_clone_or_to_be_an_error_and_send_and_sync_are_kept() {
    struct NoClone;
    fn check<T: Send + Sync>(_: &T) {}
    let mut service = AttemptLayer::new().layer(service_fn(|request: Request<NoClone>| async move {
        Ok::<_, NoClone>(Response::new(request.into_body()))
    }));
    check(&service);
    let call = service.call(Request::new(NoClone));
    check(&call);
    assert!(call.await.is_ok());
}
