//! The layers in their order, outermost first.
//!
//! | layer | why here |
//! |---|---|
//! | correlation | one id and one trace for the whole call; every later line of log carries it |
//! | metrics | sees what the caller sees |
//! | deadline | bounds the whole call, waits and backoff included; what is below reads it |
//! | cache, if one is given | a hit costs nothing below |
//! | idempotency key, if switched on | one key per call, the same on every attempt and endpoint |
//! | retry | below it, everything happens once per attempt |
//! | attempt | the attempt's span and span id |
//! | credentials | each attempt carries the current token |
//! | rate limit | every attempt takes quota, because the server counts attempts |
//! | round robin | picks the endpoint per attempt, so that a retry fails over |
//! | circuit breaker, one per endpoint | one sick endpoint does not open the others |
//! | attempt timeout | bounds one try, its body included |
//! | origin, then the transport | where it goes, and going there |

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use nudj_tower::{
    BoxError,
    attempt::AttemptLayer,
    circuit_breaker::{BreakerHandle, CircuitBreakerLayer, WeakBreakerHandle},
    correlation::CorrelationLayer,
    credentials::{Credentials, CredentialsLayer, WeakCredentials},
    deadline::{DeadlineConfig, DeadlineLayer},
    idempotency::IdempotencyLayer,
    metrics::MetricsLayer,
    observe::Observers,
    rate_limit::{RateLimitHandle, RateLimitLayer},
    retry::{RetryBudget, RetryLayer},
    round_robin::{Endpoint, OriginLayer, RoundRobinHandle, RoundRobinLayer, WeakRoundRobinHandle},
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use parking_lot::Mutex;
use tower::{ServiceBuilder, layer::util::Stack};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Config, Error, NudjService,
    builder::{Stackable, Wrap},
    keys::Keys,
    service::{OverRequests, WholeCall},
    transport::{BoundLayer, Hyper},
};

/// What the stack is made of beside its configuration.
pub(crate) struct Parts {
    pub(crate) credentials: Credentials,
    pub(crate) observers: Observers,
    pub(crate) cache: Option<Wrap>,
    pub(crate) seed: Option<u64>,
    pub(crate) keys: Keys,
}

/// What stands between the balancer and the transport, for each endpoint; `L` sends to that endpoint.
type PerEndpoint<L> = Stack<L, Stack<AttemptTimeoutLayer, CircuitBreakerLayer>>;

/// The endpoints' circuits. One whose endpoint was taken out goes with its last call.
type Breakers = Arc<Mutex<Vec<WeakBreakerHandle>>>;

/// Handles on the layers: to read their state without a call, and to drive them.
#[derive(Clone, Debug)]
pub struct Handles {
    breakers: Breakers,
    endpoints: RoundRobinHandle,
    rate_limit: RateLimitHandle,
    retry_budget: Option<RetryBudget>,
    credentials: Credentials,
}

impl Handles {
    /// Handles that do not keep the client.
    #[must_use]
    pub fn downgrade(&self) -> WeakHandles {
        WeakHandles {
            breakers: Arc::clone(&self.breakers),
            endpoints: self.endpoints.downgrade(),
            // These hold nothing but their own counts.
            rate_limit: self.rate_limit.clone(),
            retry_budget: self.retry_budget.clone(),
            credentials: self.credentials.downgrade(),
        }
    }

    /// The circuit breakers of the endpoints that are in the list, in its order.
    #[must_use]
    pub fn breakers(&self) -> Vec<BreakerHandle> {
        let known: Vec<_> = self.breakers.lock().iter().filter_map(WeakBreakerHandle::upgrade).collect();
        let of = |name: &str| known.iter().rev().find(|breaker| breaker.name() == name).cloned();
        self.endpoints.endpoints().iter().filter_map(|endpoint| of(&endpoint.name)).collect()
    }

    /// The endpoints: their counts, and the list itself.
    #[must_use]
    pub fn endpoints(&self) -> &RoundRobinHandle {
        &self.endpoints
    }

    /// The limiter: its queue, its pauses, its quota.
    #[must_use]
    pub fn rate_limit(&self) -> &RateLimitHandle {
        &self.rate_limit
    }

    /// The retry budget, shared by retry and failover.
    #[must_use]
    pub fn retry_budget(&self) -> Option<&RetryBudget> {
        self.retry_budget.as_ref()
    }

    /// The credentials: their age, and their rotation.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

/// [`Handles`] that keep nothing of the client: for who is held by its layers, such as an observer. Would that have handles of the
/// other kind, neither were ever freed.
#[derive(Clone, Debug)]
pub struct WeakHandles {
    breakers: Breakers,
    endpoints: WeakRoundRobinHandle,
    rate_limit: RateLimitHandle,
    retry_budget: Option<RetryBudget>,
    credentials: WeakCredentials,
}

impl WeakHandles {
    /// The handles, as long as anybody has the client, its service, a call of it or other handles.
    #[must_use]
    pub fn upgrade(&self) -> Option<Handles> {
        Some(Handles {
            breakers: Arc::clone(&self.breakers),
            endpoints: self.endpoints.upgrade()?,
            rate_limit: self.rate_limit.clone(),
            retry_budget: self.retry_budget.clone(),
            credentials: self.credentials.upgrade()?,
        })
    }
}

/// Puts the layers around our own transport, in the order of the [module's table](self).
pub(crate) fn compose(config: &Config, parts: Parts, transport: Hyper) -> Result<(NudjService, Handles), Error> {
    compose_with(config, parts, BoundLayer::of, true, transport)
}

/// As [`compose`], around a transport that knows no endpoints.
pub(crate) fn compose_over<T>(config: &Config, parts: Parts, transport: T) -> Result<(NudjService, Handles), Error>
where
    T: Stackable,
    T::Future: Send,
{
    compose_with(config, parts, OriginLayer::of, false, OverRequests::bare(transport))
}

/// `ours` is a transport whose calls stay in their task, that keeps their time, and that is always ready.
fn compose_with<T, L>(
    config: &Config,
    parts: Parts,
    at: fn(&Endpoint) -> L,
    ours: bool,
    transport: T,
) -> Result<(NudjService, Handles), Error>
where
    T: Clone + Send + Sync + 'static,
    L: Layer<T> + Clone + Send + 'static,
    L::Service: TakesCalls,
    <L::Service as Service<WholeCall>>::Future: Send,
{
    let Parts { credentials, observers, cache, seed, keys } = parts;
    let breakers = Arc::default();
    let per_endpoint = per_endpoint(config, &observers, seed, &breakers, at, ours)?;
    let endpoints = config.origins()?.into_iter().map(Endpoint::at);
    let round_robin = RoundRobinLayer::new(&config.round_robin, endpoints, per_endpoint)?.observers(observers.clone());
    let round_robin = if ours { round_robin.reserves_nothing() } else { round_robin };
    let rate_limit =
        RateLimitLayer::new(&config.rate_limit)?.observers(observers.clone()).asks(Arc::new(round_robin.handle()));
    let mut retry = RetryLayer::new(config.retry.clone())?.observers(observers.clone());
    if let Some(seed) = seed {
        retry = retry.seed(seed);
    }
    let handles = Handles {
        breakers,
        endpoints: round_robin.handle(),
        rate_limit: rate_limit.handle(),
        retry_budget: retry.handle(),
        credentials: credentials.clone(),
    };

    let per_attempt = ServiceBuilder::new()
        .layer(retry)
        .layer(seed.map_or_else(AttemptLayer::new, AttemptLayer::seeded).observers(observers.clone()))
        .layer(CredentialsLayer::new(credentials))
        .layer(rate_limit)
        .layer(round_robin)
        .service(transport);
    let service = if config.retry.idempotency_keys {
        cached(cache, IdempotencyLayer::on().source(keys), per_attempt, config, &observers, seed)?
    } else {
        cached(cache, tower::layer::util::Identity::new(), per_attempt, config, &observers, seed)?
    };
    Ok((service, handles))
}

fn cached<K, S>(
    cache: Option<Wrap>,
    keys: K,
    inner: S,
    config: &Config,
    observers: &Observers,
    seed: Option<u64>,
) -> Result<NudjService, Error>
where
    K: Layer<S>,
    K::Service: TakesCalls,
    <K::Service as Service<WholeCall>>::Future: Send,
{
    let inner = keys.layer(inner);
    let deadline = DeadlineLayer::new(DeadlineConfig { total: config.timeout.total })?.tries_counted();
    Ok(match cache {
        None => per_call(deadline.one_task(), observers, seed, inner),
        // Whoever wrote the cache may run calls in tasks of their own.
        Some(cache) => per_call(deadline, observers, seed, cache(NudjService::over_calls(inner)).into_calls()),
    })
}

/// The layers that see a call once, however many attempts it takes.
fn per_call<S>(deadline: DeadlineLayer, observers: &Observers, seed: Option<u64>, inner: S) -> NudjService
where
    S: TakesCalls,
    S::Future: Send,
{
    let service = ServiceBuilder::new()
        .layer(seed.map_or_else(CorrelationLayer::new, CorrelationLayer::seeded))
        .layer(MetricsLayer::new(observers.clone()))
        .layer(deadline)
        .service(inner);
    NudjService::over_calls(service)
}

/// A part of the stack, as seen from above.
trait TakesCalls:
    Service<WholeCall, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + Sync + 'static
{
}

impl<S> TakesCalls for S where
    S: Service<WholeCall, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + Sync + 'static
{
}

/// Makes what guards one endpoint, and notes its breaker's handle.
fn per_endpoint<L: 'static>(
    config: &Config,
    observers: &Observers,
    seed: Option<u64>,
    breakers: &Breakers,
    at: fn(&Endpoint) -> L,
    ours: bool,
) -> Result<impl Fn(&Endpoint) -> PerEndpoint<L> + Send + Sync + 'static + use<L>, Error> {
    let mut breaker =
        CircuitBreakerLayer::new(&config.circuit_breaker.clone().with_attempt_timeout(config.longest_attempt()))?
            .observers(observers.clone());
    if let Some(seed) = seed {
        breaker = breaker.seed(seed);
    }
    let timeout = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: config.timeout.attempt })?;
    let timeout = if ours { timeout.one_task() } else { timeout };
    let breakers = Arc::clone(breakers);
    Ok(move |endpoint: &Endpoint| {
        let breaker = breaker.fresh().named(Arc::clone(endpoint.name()));
        let mut known = breakers.lock();
        known.retain(|breaker| !breaker.is_gone());
        known.push(breaker.handle().downgrade());
        Stack::new(at(endpoint), Stack::new(timeout, breaker))
    })
}
