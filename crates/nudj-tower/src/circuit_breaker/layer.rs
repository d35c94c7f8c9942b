use std::sync::Arc;

use tower_layer::Layer;

use super::{
    breaker::Breaker,
    config::CircuitBreakerConfig,
    handle::{BreakerHandle, Shared, Surroundings},
    owner::Owner,
    rules::Rules,
    service::CircuitBreaker,
};
use crate::{
    ConfigError,
    classify::{Any, Http},
    observe::Observers,
};

/// Puts a [`CircuitBreaker`] around a service.
///
/// The state lives here: all services that this layer and its clones make share one circuit. [`fresh`](Self::fresh) gives a separate
/// one.
#[derive(Debug)]
pub struct CircuitBreakerLayer<C = Http> {
    rules: Arc<Rules>,
    seed: Option<u64>,
    name: Option<Arc<str>>,
    observers: Observers,
    classifier: C,
    shared: Owner,
}

impl CircuitBreakerLayer {
    /// A closed circuit for HTTP, by [`Http`]'s table.
    ///
    /// # Errors
    /// As [`CircuitBreakerConfig::validate`].
    pub fn new(config: &CircuitBreakerConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let rules = Arc::new(Rules::new(config));
        let shared = share(&rules, fastrand::u64(..), None, Observers::default());
        Ok(Self { rules, seed: None, name: None, observers: Observers::default(), classifier: Http::default(), shared })
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Names the circuit in errors, events and logs: in the composed stack an endpoint's name. Starts a circuit of its own, so take
    /// handles afterwards.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self.renew()
    }

    /// Tells `observers` of changes and refusals. Starts a circuit of its own, so take handles afterwards.
    #[must_use]
    pub fn observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self.renew()
    }

    /// Draws the jitter of growing open times from `seed`, for repeatable runs. Starts a circuit of its own, so take handles afterwards.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self.renew()
    }

    /// Asks `classifier` what an end means. It is cloned with every call: keep that cheap.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> CircuitBreakerLayer<D> {
        let Self { rules, seed, name, observers, shared, .. } = self;
        CircuitBreakerLayer { rules, seed, name, observers, classifier, shared }
    }

    /// For services that do not speak HTTP: an answer is a success, an error a failure.
    #[must_use]
    pub fn for_any(self) -> CircuitBreakerLayer<Any> {
        self.classifier(Any)
    }

    /// The same settings around a circuit of its own, closed.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        self.clone().renew()
    }

    fn renew(mut self) -> Self {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        self.shared = share(&self.rules, seed, self.name.clone(), self.observers.clone());
        self
    }

    /// Reads the circuit and drives it, without a call.
    #[must_use]
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle(Arc::clone(self.shared.shared()))
    }
}

impl<C: Clone> Clone for CircuitBreakerLayer<C> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            seed: self.seed,
            name: self.name.clone(),
            observers: self.observers.clone(),
            classifier: self.classifier.clone(),
            shared: self.shared.all(),
        }
    }
}

fn share(rules: &Arc<Rules>, seed: u64, name: Option<Arc<str>>, observers: Observers) -> Owner {
    let breaker = Breaker::with_rules(Arc::clone(rules), seed, true);
    Owner::new(Shared::new(breaker, Surroundings::new(name, observers)))
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.shared.all(), self.classifier.clone())
    }
}
