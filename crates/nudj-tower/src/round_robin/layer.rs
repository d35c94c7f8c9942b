use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tower_layer::Layer;

use super::{
    Endpoint, RoundRobin, RoundRobinConfig, RoundRobinHandle, endpoint,
    member::Member,
    registry::{Registry, Slot},
};
use crate::{
    Available, ConfigError,
    classify::{Any, Http},
    observe::Observers,
};

/// Spreads calls over endpoints, each behind layers of its own; see the [module's page](super).
///
/// The list, the turns and the counts live here, and so do the layers that were made for each endpoint: all services that this
/// layer and its clones make share them.
pub struct RoundRobinLayer<F, L, C = Http> {
    config: RoundRobinConfig,
    observers: Observers,
    registry: Arc<Registry>,
    make: Arc<F>,
    made: Arc<Mutex<Made<L>>>,
    reserves_nothing: bool,
    classifier: C,
}

/// The layers of each endpoint.
type Made<L> = Vec<(Weak<Member>, L)>;

impl<F, L> RoundRobinLayer<F, L>
where
    F: Fn(&Endpoint) -> L,
{
    /// Spreads HTTP calls over `endpoints`. `make` is called once for each endpoint and gives the layers that stand between the
    /// balancer and the shared transport there, the outermost of which can refuse a call: a
    /// [`CircuitBreakerLayer`](crate::circuit_breaker::CircuitBreakerLayer), or [`PlainLayer`](super::PlainLayer) for none.
    ///
    /// # Errors
    /// When `config` or a weight is out of range, or a name is there twice.
    pub fn new(
        config: &RoundRobinConfig,
        endpoints: impl IntoIterator<Item = Endpoint>,
        make: F,
    ) -> Result<Self, ConfigError> {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().collect();
        config.validate()?;
        endpoint::validate(&endpoints)?;
        Ok(Self {
            registry: Registry::new(config, endpoints, Observers::default(), false),
            config: config.clone(),
            observers: Observers::default(),
            make: Arc::new(make),
            made: Arc::default(),
            reserves_nothing: false,
            classifier: Http::default(),
        })
    }
}

impl<F, L, C> RoundRobinLayer<F, L, C> {
    /// Asks `classifier` what an end means, and for the call's context. It is cloned with every call: keep that cheap.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> RoundRobinLayer<F, L, D> {
        let Self { config, observers, registry, make, made, reserves_nothing, .. } = self;
        RoundRobinLayer { config, observers, registry, make, made, reserves_nothing, classifier }
    }

    /// Says that nothing below takes a permit, a place in a queue or anything else in its `poll_ready`, as no layer of this crate does nor our transport.
    /// Then a service that is called again keeps the instances that it has called, in place of a clone for each call, until the list
    /// changes: it lets go of an endpoint that was taken out with its next call. Above a limit of tower's, an instance that is
    /// kept could hold a permit that nobody uses.
    #[must_use]
    pub fn reserves_nothing(self) -> Self {
        Self { reserves_nothing: true, ..self }
    }

    /// For services that do not speak HTTP: an answer is a success, an error a failure, and no call knows where it has been.
    #[must_use]
    pub fn for_any(self) -> RoundRobinLayer<F, L, Any> {
        self.classifier(Any)
    }

    /// Tells `observers` of ended attempts and of ejections. Starts with state of its own, so take handles afterwards.
    #[must_use]
    pub fn observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self.renew()
    }

    /// The same endpoints with state of their own: turns, counts, and the layers that `make` makes anew.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        self.clone().renew()
    }

    fn renew(mut self) -> Self {
        self.registry = Registry::new(&self.config, self.registry.endpoints(), self.observers.clone(), false);
        self.made = Arc::default();
        self
    }

    /// Reads and changes the list without a call.
    #[must_use]
    pub fn handle(&self) -> RoundRobinHandle {
        RoundRobinHandle { registry: Arc::clone(&self.registry) }
    }
}

impl<F, L, C> RoundRobinLayer<F, L, C>
where
    F: Fn(&Endpoint) -> L,
    L: Clone,
{
    /// The endpoint's layers, made once.
    fn layers(make: &F, made: &Mutex<Made<L>>, slot: &Slot) -> L {
        let mut made = made.lock();
        let is_it = |member: &Weak<Member>| std::ptr::eq(member.as_ptr(), Arc::as_ptr(&slot.member));
        if let Some((_, layers)) = made.iter().find(|(member, _)| is_it(member)) {
            return layers.clone();
        }
        // Those of endpoints that are gone go as well.
        made.retain(|(member, _)| member.strong_count() > 0);
        let layers = make(&slot.endpoint);
        made.push((Arc::downgrade(&slot.member), layers.clone()));
        layers
    }
}

impl<F, L, C, S> Layer<S> for RoundRobinLayer<F, L, C>
where
    F: Fn(&Endpoint) -> L + Send + Sync + 'static,
    L: Layer<S> + Clone + Send + 'static,
    L::Service: Available + Clone,
    S: Clone + Send + 'static,
    C: Clone,
{
    type Service = RoundRobin<L::Service, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let (make, made) = (Arc::clone(&self.make), Arc::clone(&self.made));
        let service = move |slot: &Slot| Self::layers(&make, &made, slot).layer(inner.clone());
        let balancer = RoundRobin::over(Arc::clone(&self.registry), service, self.classifier.clone());
        if self.reserves_nothing { balancer.reserves_nothing() } else { balancer }
    }
}

impl<F, L, C: Clone> Clone for RoundRobinLayer<F, L, C> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            observers: self.observers.clone(),
            registry: Arc::clone(&self.registry),
            make: Arc::clone(&self.make),
            made: Arc::clone(&self.made),
            reserves_nothing: self.reserves_nothing,
            classifier: self.classifier.clone(),
        }
    }
}

impl<F, L, C> fmt::Debug for RoundRobinLayer<F, L, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobinLayer").field("endpoints", &self.registry.endpoints()).finish_non_exhaustive()
    }
}
