//! What a future says that is polled after its end: a caller who does so has a fault, and should see it, not wait for ever.

use std::future::{Ready, ready};

use http::{HeaderValue, Request, Response};
use nudj_tower::{
    BoxError,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    credentials::{Credentials, CredentialsConfig, CredentialsLayer, Scheme, StaticCredential},
    idempotency::{IdempotencyLayer, Key, KeySource, Operation},
    rate_limit::{RateLimitConfig, RateLimitLayer},
    round_robin::{Endpoint, Origin, OriginLayer, PlainLayer, RoundRobinConfig, RoundRobinLayer},
};
use tower::{Layer, Service, service_fn};

/// Has `layer` refuse a request to `uri`, and polls once more.
async fn says_so<L>(layer: L, uri: &str)
where
    L: Layer<Below>,
    L::Service: Service<Request<()>, Response = Response<()>, Error = BoxError>,
{
    let mut service = layer.layer(service_fn(answer as fn(Request<()>) -> Ready<Result<Response<()>, BoxError>>));
    let request = Request::post(uri).body(()).unwrap();
    let call = service.call(request);
    let mut call = std::pin::pin!(call);
    let refusal = call.as_mut().await.unwrap_err().to_string();
    assert!(!refusal.contains("after it had ended"), "{refusal}");
    let again = call.await.unwrap_err().to_string();
    assert!(again.contains("future was polled after it had ended"), "{again}");
}

type Below = tower::util::ServiceFn<fn(Request<()>) -> Ready<Result<Response<()>, BoxError>>>;

fn answer(_: Request<()>) -> Ready<Result<Response<()>, BoxError>> {
    ready(Ok(Response::new(())))
}

#[tokio::test(start_paused = true)]
async fn a_breakers() {
    let layer = CircuitBreakerLayer::new(&CircuitBreakerConfig::default()).unwrap();
    layer.handle().force_open();
    says_so(layer, "/").await;
}

#[tokio::test(start_paused = true)]
async fn a_balancers() {
    let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), [Endpoint::new("a")], |_| PlainLayer).unwrap();
    layer.handle().remove("a");
    says_so(layer, "/").await;
}

#[tokio::test(start_paused = true)]
async fn an_origins() {
    let origin = Origin::parse(&format!("http://a/{}", "x".repeat(40_000))).unwrap();
    says_so(OriginLayer::new(origin), &format!("/{}", "y".repeat(40_000))).await;
}

#[tokio::test(start_paused = true)]
async fn a_credentials() {
    let unusable = StaticCredential::new("two\nlines");
    let credentials = Credentials::new(unusable, Scheme::Bearer, CredentialsConfig::default()).unwrap();
    says_so(CredentialsLayer::new(credentials), "/").await;
}

#[tokio::test(start_paused = true)]
async fn a_limiters() {
    let config = RateLimitConfig { max_requests: 1, max_queue: 0, ..RateLimitConfig::default() };
    let layer = RateLimitLayer::new(&config).unwrap();
    assert!(layer.handle().try_acquire());
    says_so(layer, "/").await;
}

#[tokio::test(start_paused = true)]
async fn a_keys() {
    #[derive(Clone)]
    struct Nothing;
    impl KeySource for Nothing {
        type Future = Ready<Result<HeaderValue, BoxError>>;

        fn key(&self, _: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
            Err("none".into())
        }
    }
    says_so(IdempotencyLayer::on().source(Nothing), "/").await;
}
