use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Response};
use nudj_client::{Client, Config};
use nudj_tower::{
    BoxError, Call, CallContext,
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
use tower::{Layer, Service, ServiceBuilder};

use crate::{Body, Fused, Immediate, Watch, request, ten_layers};

/// Who measures: is shown every case once, with its service built.
pub trait Cases {
    /// Measures `service` with clones of `template`, so that each row holds the price of that copy too.
    fn case<S>(&mut self, name: &'static str, template: &Request<Body>, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + 'static,
        S::Error: Into<BoxError>;

    /// Whether this case is measured; what watches a client is only started then, lest it be counted in others.
    fn wants(&self, name: &str) -> bool {
        let _ = name;
        true
    }
}

/// Quota that is never used up. Its window is one that somebody might set: in one of a millisecond each call would find all that the last
/// one left to be over.
#[must_use]
pub fn free_quota() -> RateLimitConfig {
    RateLimitConfig { max_requests: 1_000_000_000, window: Duration::from_secs(1), ..RateLimitConfig::default() }
}

/// Shows `cases` each layer alone over an immediate service, the bare service, and stacks. Needs a runtime around it.
///
/// # Errors
/// When a layer refuses its configuration.
pub fn each(cases: &mut impl Cases) -> Result<(), BoxError> {
    layers(cases)?;
    stacks(cases)
}

fn layers(cases: &mut impl Cases) -> Result<(), BoxError> {
    let plain = request();
    cases.case("bare", &plain, Immediate);
    cases.case("bare again", &plain, Immediate);
    cases.case("correlation", &plain, CorrelationLayer::new().layer(Immediate));
    cases.case("metrics", &plain, MetricsLayer::new(Observers::default()).layer(Immediate));
    cases.case("deadline", &plain, DeadlineLayer::new(DeadlineConfig::default())?.layer(Immediate));
    cases.case("idempotency", &plain, IdempotencyLayer::on().layer(Immediate));
    cases.case("retry", &plain, RetryLayer::new(RetryConfig::default())?.layer(Immediate));
    cases.case("attempt", &plain, AttemptLayer::new().layer(Immediate));
    cases.case("credentials", &plain, CredentialsLayer::new(credentials()?).layer(Immediate));
    cases.case("rate limit", &plain, RateLimitLayer::new(&free_quota())?.layer(Immediate));
    cases.case("round robin of three", &plain, round_robin()?.layer(Immediate));
    let breaker = CircuitBreakerConfig::default();
    cases.case("circuit breaker", &plain, CircuitBreakerLayer::new(&breaker)?.layer(Immediate));
    let rated = CircuitBreakerConfig { failure_rate: Some(0.5), window_calls: Some(100), ..breaker };
    cases.case("circuit breaker, count ring", &plain, CircuitBreakerLayer::new(&rated)?.layer(Immediate));
    cases.case("timeout", &plain, AttemptTimeoutLayer::new(AttemptTimeoutConfig::default())?.layer(Immediate));
    Ok(())
}

fn stacks(cases: &mut impl Cases) -> Result<(), BoxError> {
    let plain = request();
    let three = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryConfig::default())?)
        .layer(RateLimitLayer::new(&free_quota())?)
        .layer(CircuitBreakerLayer::new(&CircuitBreakerConfig::default())?)
        .service(Immediate);
    cases.case("retry, rate limit, circuit breaker", &plain, three);
    let five = || {
        let layers = ServiceBuilder::new()
            .layer(CorrelationLayer::new())
            .layer(RetryLayer::new(RetryConfig::default())?)
            .layer(RateLimitLayer::new(&free_quota())?)
            .layer(round_robin()?)
            .layer(CircuitBreakerLayer::new(&CircuitBreakerConfig::default())?);
        Ok::<_, BoxError>(layers.service(Immediate))
    };
    cases.case("five layers", &plain, five()?);
    let beside = ServiceBuilder::new().map_request(Call::new).service(five()?);
    cases.case("five layers, context beside the request", &plain, beside);

    cases.case("five layers' work, fused by hand", &plain, Fused::five(Immediate)?);

    let mut with_context = request();
    CallContext::get_or_insert(with_context.extensions_mut());
    with_context.headers_mut().insert("x-correlation-id", HeaderValue::from_static("bench"));
    cases.case("bare, request with a context", &with_context, Immediate);

    let client = Client::builder().config(three_endpoints()).token("token").build_over(Immediate)?;
    cases.case("the whole stack", &plain, client.service());
    cases.case("the same, fused by hand", &plain, Fused::new(Immediate)?);
    cases.case("the same, fused, through ten layers", &plain, Fused::new(ten_layers(Immediate))?);
    type Start = fn() -> Result<Watch, BoxError>;
    let watches: [(_, Start); 2] = [
        ("the whole stack, an observer without a recorder", || Ok(Watch::no_recorder())),
        ("the whole stack, Prometheus", Watch::prometheus),
    ];
    for (name, watch) in watches.into_iter().filter(|(name, _)| cases.wants(name)).collect::<Vec<_>>() {
        let watch = watch()?;
        let client = watch.client().config(three_endpoints()).token("token").build_over(Immediate)?;
        watch.case(cases, name, &plain, &client);
    }
    Ok(())
}

/// Shows `cases` the whole stack while a subscriber keeps its spans. To be the last case of all: in a process in which there has been a
/// subscriber `tracing` goes on making spans, for nobody.
///
/// # Errors
/// When a layer refuses its configuration.
pub fn spans_kept(cases: &mut impl Cases) -> Result<(), BoxError> {
    let name = "the whole stack, spans kept";
    if cases.wants(name) {
        let watch = Watch::spans();
        let client = watch.client().config(three_endpoints()).token("token").build_over(Immediate)?;
        watch.case(cases, name, &request(), &client);
    }
    Ok(())
}

fn three_endpoints() -> Config {
    let mut config = Config::with_endpoints(["http://localhost:1", "http://localhost:2", "http://localhost:3"]);
    config.rate_limit = free_quota();
    config
}

fn credentials() -> Result<Credentials, BoxError> {
    let scheme = Scheme::Header(HeaderName::from_static("x-api-token"));
    Ok(Credentials::new(StaticCredential::new("token".to_owned()), scheme, CredentialsConfig::default())?)
}

fn round_robin() -> Result<RoundRobinLayer<impl Fn(&Endpoint) -> PlainLayer + Clone, PlainLayer>, BoxError> {
    Ok(RoundRobinLayer::new(&RoundRobinConfig::default(), ["a", "b", "c"].map(Endpoint::new), |_| PlainLayer)?)
}
