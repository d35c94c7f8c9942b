//! Resilience as Tower layers: each pattern its own [`tower_layer::Layer`], each usable alone.
//!
//! | module | layer | what it does |
//! |---|---|---|
//! | [`deadline`] | [`DeadlineLayer`](deadline::DeadlineLayer) | bounds a whole call, waits and backoff included |
//! | [`attempt`] | [`AttemptLayer`](attempt::AttemptLayer) | each attempt's span, its span id in `traceparent`, `x-retry-attempt` on repeats |
//! | [`round_robin`] | [`RoundRobinLayer`](round_robin::RoundRobinLayer) | spreads attempts over endpoints in strict order, skipping the sick |
//! | [`timeout`] | [`AttemptTimeoutLayer`](timeout::AttemptTimeoutLayer) | bounds one attempt, and its body if asked to |
//! | [`correlation`] | [`CorrelationLayer`](correlation::CorrelationLayer) | one id and one trace for the whole call, from the caller or new |
//! | [`correlation`] | [`CorrelationServerLayer`](correlation::CorrelationServerLayer) | the same for calls that come in; handlers' own calls carry it on |
//! | [`idempotency`] | [`IdempotencyLayer`](idempotency::IdempotencyLayer) | one key per POST or PATCH, the same on every attempt |
//! | [`metrics`] | [`MetricsLayer`](metrics::MetricsLayer) | tells observers and the log about each call, as its caller sees it |
//! | [`retry`] | [`RetryLayer`](retry::RetryLayer) | sends again what may be sent again, within a budget |
//! | [`rate_limit`] | [`RateLimitLayer`](rate_limit::RateLimitLayer) | never more calls per window than the quota; waits in line; learns from 429 |
//! | [`circuit_breaker`] | [`CircuitBreakerLayer`](circuit_breaker::CircuitBreakerLayer) | cuts off a sick service until a probe shows that it has recovered |
//! | [`credentials`] | [`CredentialsLayer`](credentials::CredentialsLayer) | the current credential on each attempt; a 401 renews once and replays once |
//!
//! What all layers share: [`CallContext`] travels with the request, [`Rejection`] is what a layer says when it refuses,
//! [`classify`] tells what an answer means, [`observe`] tells whoever watches, [`clock`] reads the time once for several.

pub mod classify;
pub mod clock;
mod config;
mod context;
mod endpoint;
mod exponential;
pub mod observe;
#[cfg(any(feature = "attempt", feature = "correlation"))]
mod randomness;
mod rejection;
#[cfg(any(feature = "attempt", feature = "correlation"))]
mod semconv;
#[cfg(any(feature = "deadline", feature = "timeout"))]
mod timer;

#[cfg(feature = "attempt")]
pub mod attempt;
#[cfg(feature = "circuit-breaker")]
pub mod circuit_breaker;
#[cfg(feature = "correlation")]
pub mod correlation;
#[cfg(feature = "credentials")]
pub mod credentials;
#[cfg(feature = "deadline")]
pub mod deadline;
#[cfg(feature = "idempotency")]
pub mod idempotency;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
#[cfg(feature = "retry")]
pub mod retry;
#[cfg(feature = "round-robin")]
pub mod round_robin;
#[cfg(feature = "timeout")]
pub mod timeout;

pub use self::{
    config::ConfigError,
    context::{
        Call, CallContext, CallFacts, CallSpan, HttpRequest, InvalidTraceparent, Route, SpanId, TraceContext, TraceId,
    },
    endpoint::{Availability, Available, Refused, TryCall},
    exponential::{Exponential, Jitter},
    rejection::{LimitedBy, Rejection},
};

/// Any error, as tower boxes it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a layer's future says that was polled after it had ended.
#[cfg(any(
    feature = "circuit-breaker",
    feature = "credentials",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "retry",
    feature = "round-robin"
))]
fn polled_after_end(whose: &str) -> BoxError {
    format!("{whose} future was polled after it had ended").into()
}
