//! What does each layer cost over an immediate service? Nanoseconds per call, a bare service in the same group: the difference is
//! the layer's price. Built once, outside the loop; everything succeeds.
//!
//! Over a ready service no timer is ever registered, which flatters the deadline and the timeouts.

use std::{
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use nudj_client::{Client, Config};
use nudj_tower::{
    BoxError, CallContext,
    attempt::AttemptLayer,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    correlation::CorrelationLayer,
    credentials::{Credentials, CredentialsConfig, CredentialsLayer, Scheme, StaticCredential},
    deadline::{DeadlineConfig, DeadlineLayer},
    idempotency::IdempotencyLayer,
    metrics::MetricsLayer,
    observe::Observers,
    rate_limit::{RateLimitConfig, RateLimitLayer},
    retry::{RetryConfig, RetryLayer},
    round_robin::{Endpoint, PlainLayer, RoundRobinConfig, RoundRobinLayer},
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt};

type Body = Full<Bytes>;

/// Answers at once.
#[derive(Clone, Copy, Debug)]
struct Immediate;

impl Service<Request<Body>> for Immediate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::default())))
    }
}

/// A request as a client makes it: four headers, no context.
fn request() -> Request<Body> {
    Request::post("http://localhost/api/v2/admin/users")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("x-language", "en")
        .header("user-agent", "bench")
        .body(Full::from(Bytes::from_static(b"{\"email\":\"ada@example.org\"}")))
        .unwrap_or_default()
}

struct Bench<'b> {
    group: BenchmarkGroup<'b, WallTime>,
    runtime: Runtime,
}

impl Bench<'_> {
    /// Requests are cloned from one and the same in every row, so that the bare row holds the price of that too.
    #[expect(clippy::needless_pass_by_value, reason = "each row makes its service in place")]
    fn row<S>(&mut self, name: &str, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone,
    {
        self.row_of(name, &request(), &service);
    }

    fn row_of<S>(&mut self, name: &str, template: &Request<Body>, service: &S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone,
    {
        let runtime = &self.runtime;
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let (template, mut service) = (template.clone(), service.clone());
                runtime.block_on(async move {
                    let start = tokio::time::Instant::now();
                    for _ in 0..rounds {
                        let answered = match service.ready().await {
                            Ok(service) => service.call(template.clone()).await.is_ok(),
                            Err(_) => false,
                        };
                        assert!(black_box(answered), "the price of a failure is another question");
                    }
                    start.elapsed()
                })
            });
        });
    }
}

/// Quota that is never used up.
fn free_quota() -> RateLimitConfig {
    RateLimitConfig { max_requests: 1_000_000, window: Duration::from_millis(1), ..RateLimitConfig::default() }
}

fn layers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let guard = runtime.handle().clone();
    let _entered = guard.enter();
    let mut bench = Bench { group: criterion.benchmark_group("layers"), runtime };
    if let Err(problem) = rows(&mut bench) {
        eprintln!("not measured: {problem}");
        std::process::exit(2);
    }
    bench.group.finish();
}

fn rows(bench: &mut Bench<'_>) -> Result<(), BoxError> {
    bench.row("bare", Immediate);
    bench.row("bare again", Immediate);
    bench.row("correlation", CorrelationLayer::new().layer(Immediate));
    bench.row("metrics", MetricsLayer::new(Observers::default()).layer(Immediate));
    bench.row("deadline", DeadlineLayer::new(DeadlineConfig::default())?.layer(Immediate));
    bench.row("idempotency", IdempotencyLayer::on().layer(Immediate));
    bench.row("retry", RetryLayer::new(RetryConfig::default())?.layer(Immediate));
    bench.row("attempt", AttemptLayer::new().layer(Immediate));
    let credentials = Credentials::new(
        StaticCredential::new("token".to_owned()),
        Scheme::Header(HeaderName::from_static("x-api-token")),
        CredentialsConfig::default(),
    )?;
    bench.row("credentials", CredentialsLayer::new(credentials).layer(Immediate));
    bench.row("rate limit", RateLimitLayer::new(&free_quota())?.layer(Immediate));
    let round_robin =
        RoundRobinLayer::new(&RoundRobinConfig::default(), ["a", "b", "c"].map(Endpoint::new), |_| PlainLayer)?;
    bench.row("round robin of three", round_robin.layer(Immediate));
    bench.row("circuit breaker", CircuitBreakerLayer::new(&CircuitBreakerConfig::default())?.layer(Immediate));
    let rated =
        CircuitBreakerConfig { failure_rate: Some(0.5), window_calls: Some(100), ..CircuitBreakerConfig::default() };
    bench.row("circuit breaker, count ring", CircuitBreakerLayer::new(&rated)?.layer(Immediate));
    bench.row("timeout", AttemptTimeoutLayer::new(AttemptTimeoutConfig::default())?.layer(Immediate));

    let mut with_context = request();
    CallContext::get_or_insert(with_context.extensions_mut());
    with_context.headers_mut().insert("x-correlation-id", HeaderValue::from_static("bench"));
    bench.row_of("bare, request with a context", &with_context, &Immediate);

    let mut config = Config::with_endpoints(["http://localhost:1", "http://localhost:2", "http://localhost:3"]);
    config.rate_limit = free_quota();
    let client = Client::builder().config(config).token("token").build_over(Immediate)?;
    bench.row("the whole stack", client.service());
    Ok(())
}

criterion_group!(benches, layers);
criterion_main!(benches);
