//! All layers over [`Call`], whose context stands beside the request.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use nudj_tower::{
    BoxError, Call, CallContext, HttpRequest as _,
    attempt::{AttemptLayer, RETRY_ATTEMPT},
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    correlation::{CORRELATION_ID, CorrelationLayer},
    credentials::{Credentials, CredentialsConfig, CredentialsLayer, Scheme, StaticCredential},
    deadline::{DeadlineConfig, DeadlineLayer},
    idempotency::IdempotencyLayer,
    metrics::MetricsLayer,
    observe::{Event, Observers},
    rate_limit::{RateLimitConfig, RateLimitLayer},
    retry::{RetryConfig, RetryLayer},
    round_robin::{Endpoint, OriginLayer, RoundRobinConfig, RoundRobinLayer},
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use parking_lot::Mutex;
use tower::{ServiceBuilder, ServiceExt, layer::util::Stack, service_fn};

#[tokio::test(start_paused = true)]
async fn every_layer_writes_into_and_reads_from_the_context_beside_the_request() {
    let seen: Arc<Mutex<Vec<Call<String>>>> = Arc::default();
    let writer = Arc::clone(&seen);
    let server = service_fn(move |call: Call<String>| {
        writer.lock().push(call.clone());
        let status = if writer.lock().len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        async move { Ok::<_, BoxError>(Response::builder().status(status).body(call.into_request().into_body())?) }
    });
    let ended: Arc<Mutex<Vec<CallContext>>> = Arc::default();
    let teller = Arc::clone(&ended);
    let observer = move |event: &Event<'_>| {
        if let Event::CallEnded { context, .. } = event {
            teller.lock().push((*context).clone());
        }
    };
    let credentials =
        Credentials::new(StaticCredential::new("token".to_owned()), Scheme::Bearer, CredentialsConfig::default())
            .unwrap();
    let breaker = CircuitBreakerLayer::new(&CircuitBreakerConfig::default()).unwrap();
    let timeout = AttemptTimeoutLayer::new(AttemptTimeoutConfig::default()).unwrap();
    let endpoints =
        ["http://a", "http://b"].map(|origin| Endpoint::at(nudj_tower::round_robin::Origin::parse(origin).unwrap()));
    let round_robin = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints, move |endpoint: &Endpoint| {
        Stack::new(OriginLayer::of(endpoint), Stack::new(timeout, breaker.fresh()))
    })
    .unwrap();
    let service = ServiceBuilder::new()
        .layer(CorrelationLayer::new())
        .layer(MetricsLayer::new(Observers::new(observer)))
        .layer(DeadlineLayer::new(DeadlineConfig::default()).unwrap())
        .layer(IdempotencyLayer::on())
        .layer(RetryLayer::new(RetryConfig::default()).unwrap())
        .layer(AttemptLayer::new())
        .layer(CredentialsLayer::new(credentials))
        .layer(RateLimitLayer::new(&RateLimitConfig::default()).unwrap())
        .layer(round_robin)
        .service(server);

    let call = Call::new(Request::post("/users").body("body".to_owned()).unwrap());
    let context = call.context().unwrap().clone();
    let answer = service.oneshot(call).await.unwrap();
    assert_eq!((answer.status(), &answer.body()[..]), (StatusCode::OK, "body"));

    assert_eq!((context.tries(), context.resends(), context.endpoint().as_deref()), (2, 1, Some("http://b")));
    assert!(context.deadline().is_some());
    assert_eq!(*ended.lock(), std::slice::from_ref(&context));
    let seen = seen.lock();
    let [first, second] = &seen[..] else { panic!("two attempts, not {}", seen.len()) };
    for sent in [first, second] {
        assert_eq!(sent.context(), Some(&context), "one context for all attempts");
        assert!(sent.request().extensions().is_empty(), "and none of it in the extensions");
        assert_eq!(Some(&sent.headers()[CORRELATION_ID]), context.correlation_id().as_ref());
        assert_eq!(sent.headers()["authorization"], "Bearer token");
    }
    assert_eq!((first.uri().to_string(), second.uri().to_string()), ("http://a/users".into(), "http://b/users".into()));
    assert_eq!(first.headers()["idempotency-key"], second.headers()["idempotency-key"]);
    assert_ne!(first.headers()["traceparent"], second.headers()["traceparent"]);
    assert_eq!((first.headers().get(RETRY_ATTEMPT), &second.headers()[RETRY_ATTEMPT]), (None, &1.into()));
}
