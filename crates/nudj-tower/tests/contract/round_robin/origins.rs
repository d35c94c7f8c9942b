//! Requests go to the endpoint's origin.

use http::{HeaderMap, Uri, header::HOST};
use nudj_tower::round_robin::{Endpoint, Origin, OriginLayer, PlainLayer, RoundRobinLayer};
use tokio_test::{assert_pending, task};
use tower::{Layer, limit::ConcurrencyLimit, service_fn};

use super::*;

fn echo() -> impl Service<Request<()>, Response = Response<(Uri, HeaderMap)>, Error = BoxError, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    service_fn(|request: Request<()>| async move {
        let (parts, ()) = request.into_parts();
        Ok(Response::new((parts.uri, parts.headers)))
    })
}

#[tokio::test]
async fn each_endpoint_has_its_own_origin_and_a_stale_host_header_goes() {
    let endpoints = ["https://a.cx", "http://b.cx:81/pre/"].map(|text| Endpoint::at(Origin::parse(text).unwrap()));
    let layers = |endpoint: &Endpoint| (PlainLayer, OriginLayer::of(endpoint));
    let service = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints, layers).unwrap().layer(echo());
    for expected in ["https://a.cx/users?page=2", "http://b.cx:81/pre/users?page=2"] {
        let request = Request::get("/users?page=2").header(HOST, "inbound.example").header("x-other", "stays");
        let (uri, headers) = service.clone().oneshot(request.body(()).unwrap()).await.unwrap().into_body();
        assert_eq!(uri, expected);
        assert!(!headers.contains_key(HOST) && headers.contains_key("x-other"));
    }
}

#[tokio::test]
async fn an_endpoint_without_an_origin_gets_requests_as_they_are() {
    let service = OriginLayer::of(&Endpoint::new("a")).layer(echo());
    let request = Request::get("http://x.cx/users").header(HOST, "x.cx").body(()).unwrap();
    let (uri, headers) = service.oneshot(request).await.unwrap().into_body();
    assert_eq!(uri, "http://x.cx/users");
    assert!(headers.contains_key(HOST));
}

#[tokio::test]
async fn a_path_that_grows_too_long_is_an_error_of_the_request() {
    let origin = Origin::parse(&format!("https://a.cx/{}", "p".repeat(40_000))).unwrap();
    let request = Request::get(format!("/{}", "q".repeat(40_000))).body(()).unwrap();
    let error = OriginLayer::new(origin).layer(echo()).oneshot(request).await.unwrap_err();
    let error = error.downcast::<nudj_tower::classify::TransportError>().unwrap();
    assert!(!error.was_sent());
}

#[tokio::test]
async fn the_instance_that_was_made_ready_is_called() {
    let hung = service_fn(|_: Request<()>| std::future::pending::<Answer>());
    let origin = Origin::parse("https://a.cx").unwrap();
    let mut service = OriginLayer::new(origin).layer(ConcurrencyLimit::new(hung, 1));
    let mut call = task::spawn(service.ready().await.unwrap().call(Request::new(())));
    assert_pending!(call.poll());
    drop(call);
    service.ready().await.unwrap();
}

#[cfg(feature = "attempt")]
#[test]
fn the_attempts_span_learns_where_it_went() {
    use tracing::{Subscriber, field, span};
    use tracing_subscriber::{Registry, layer::SubscriberExt};

    #[derive(Clone, Default)]
    struct Fields(Arc<Mutex<Vec<String>>>);
    impl field::Visit for Fields {
        fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
            self.0.lock().push(format!("{field}={value:?}"));
        }
    }
    impl<S: Subscriber> tracing_subscriber::Layer<S> for Fields {
        fn on_record(&self, _: &span::Id, values: &span::Record<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            values.record(&mut self.clone());
        }
    }

    let fields = Fields::default();
    tracing::subscriber::with_default(Registry::default().with(fields.clone()), || {
        let origin = OriginLayer::new(Origin::parse("https://a.cx").unwrap());
        let service = nudj_tower::attempt::AttemptLayer::new().layer(origin.layer(echo()));
        assert!(task::spawn(service.oneshot(Request::new(()))).poll().is_ready());
    });
    assert_eq!(fields.0.lock()[..2], ["server.address=\"a.cx\"", "server.port=443"]);
}
