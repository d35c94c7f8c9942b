use std::{
    fmt,
    hash::Hash,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{
    super::{
        owner::Lent,
        service::{CircuitBreakerFuture, begin},
    },
    store::KeyedBreakers,
};
use crate::{
    BoxError,
    classify::{Any, Classify, Http},
};

/// Puts a [`KeyedCircuitBreaker`] around a service: each call passes the circuit of its key.
///
/// ```
/// use http::{HeaderValue, Request, Response};
/// use nudj_tower::{BoxError, circuit_breaker::{CircuitBreakerConfig, KeyedBreakers, KeyedCircuitBreakerLayer}, observe::Observers};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let circuits = KeyedBreakers::new(&CircuitBreakerConfig::default(), 10_000, "tenants", Observers::default())?;
/// let layer = KeyedCircuitBreakerLayer::new(circuits.clone(), |request: &Request<()>| -> Option<HeaderValue> {
///     request.headers().get("x-tenant").cloned()
/// });
/// let service = layer.layer(service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) }));
/// service.oneshot(Request::builder().header("x-tenant", "acme").body(())?).await?;
/// assert!(circuits.find(&Some(HeaderValue::from_static("acme"))).is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KeyedCircuitBreakerLayer<K, F, C = Http> {
    circuits: KeyedBreakers<K>,
    key: F,
    classifier: C,
}

/// A service behind a circuit breaker for each key.
///
/// `poll_ready` is the inner service's. Everything else is as with [`CircuitBreaker`](super::super::CircuitBreaker).
#[derive(Clone)]
pub struct KeyedCircuitBreaker<S, K, F, C = Http> {
    inner: S,
    circuits: KeyedBreakers<K>,
    key: F,
    classifier: C,
}

impl<K, F> KeyedCircuitBreakerLayer<K, F> {
    /// Guards HTTP calls by the circuit of what `key` says of the request.
    #[must_use]
    pub fn new(circuits: KeyedBreakers<K>, key: F) -> Self {
        Self { circuits, key, classifier: Http::default() }
    }
}

impl<K, F, C> KeyedCircuitBreakerLayer<K, F, C> {
    /// Asks `classifier` what an end means. It is cloned with every call: keep that cheap.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> KeyedCircuitBreakerLayer<K, F, D> {
        KeyedCircuitBreakerLayer { circuits: self.circuits, key: self.key, classifier }
    }

    /// For services that do not speak HTTP: an answer is a success, an error a failure.
    #[must_use]
    pub fn for_any(self) -> KeyedCircuitBreakerLayer<K, F, Any> {
        self.classifier(Any)
    }
}

impl<S, K, F: Clone, C: Clone> Layer<S> for KeyedCircuitBreakerLayer<K, F, C> {
    type Service = KeyedCircuitBreaker<S, K, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuitBreaker {
            inner,
            circuits: self.circuits.clone(),
            key: self.key.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S, K, F, C, Req> Service<Req> for KeyedCircuitBreaker<S, K, F, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    K: Hash + Eq,
    F: Fn(&Req) -> K,
    C: Classify<Req, S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = CircuitBreakerFuture<S::Future, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let circuit = self.circuits.shared((self.key)(&request));
        match circuit.admit() {
            Ok(permit) => {
                let lend = || Lent::Keyed(Arc::clone(&circuit));
                begin(&mut self.inner, &circuit, lend, permit, &self.classifier, request)
            }
            Err(rejection) => CircuitBreakerFuture::refused(rejection),
        }
    }
}

impl<K, F, C> fmt::Debug for KeyedCircuitBreakerLayer<K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer").field("circuits", &self.circuits).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, K, F, C> fmt::Debug for KeyedCircuitBreaker<S, K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker")
            .field("inner", &self.inner)
            .field("circuits", &self.circuits)
            .finish_non_exhaustive()
    }
}
