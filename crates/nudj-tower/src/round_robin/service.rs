use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tower_service::Service;

use super::{
    Endpoint, RoundRobinConfig, RoundRobinHandle, endpoint,
    future::RoundRobinFuture,
    own::Own,
    registry::{Registry, Set, Slot},
    search::Search,
};
use crate::{
    Availability, Available, BoxError, ConfigError, TryCall,
    classify::{Any, Classify, Http},
    observe::Observers,
};

/// A service that sends each call to the endpoint whose turn it is; see the [module's page](super).
///
/// A clone shares everything and allocates nothing.
pub struct RoundRobin<S, C = Http> {
    shared: Arc<Shared<S>>,
    classifier: C,
    own: Own<S>,
}

/// What the clones of one service share.
pub(super) struct Shared<S> {
    pub(super) registry: Arc<Registry>,
    list: ArcSwap<List<S>>,
    make: Mutex<Make<S>>,
}

type Make<S> = Box<dyn FnMut(&Slot) -> S + Send>;

/// The endpoints of one version of the list, each with the service that calls are cloned from.
pub(super) struct List<S> {
    pub(super) set: Arc<Set>,
    pub(super) services: Vec<S>,
}

impl<S: Available + Clone> RoundRobin<S> {
    /// Spreads HTTP calls over services that are there: (name, weight, service). The list can lose endpoints later and get them
    /// back; for one that can grow, use [`RoundRobinLayer`](super::RoundRobinLayer).
    ///
    /// # Errors
    /// When `config` or a weight is out of range, or a name is there twice.
    pub fn new<N: Into<Arc<str>>>(
        config: &RoundRobinConfig,
        endpoints: impl IntoIterator<Item = (N, u32, S)>,
    ) -> Result<Self, ConfigError>
    where
        S: Send + 'static,
    {
        config.validate()?;
        let (list, services): (Vec<Endpoint>, Vec<S>) =
            endpoints.into_iter().map(|(name, weight, service)| (Endpoint::new(name).weight(weight), service)).unzip();
        endpoint::validate(&list)?;
        let registry = Registry::new(config, list.clone(), Observers::default(), true);
        // The registry lets no other name in.
        let given = move |slot: &Slot| {
            let place = list.iter().position(|endpoint| endpoint.name() == slot.endpoint.name()).unwrap_or(0);
            services[place].clone()
        };
        Ok(Self::over(registry, given, Http::default()))
    }
}

impl<S, C> RoundRobin<S, C> {
    pub(super) fn over(registry: Arc<Registry>, make: impl FnMut(&Slot) -> S + Send + 'static, classifier: C) -> Self
    where
        S: Available + Clone,
    {
        let mut make = make;
        let list = List::new(registry.set().clone(), &mut make, None);
        let shared = Shared { registry, list: ArcSwap::from_pointee(list), make: Mutex::new(Box::new(make)) };
        Self { shared: Arc::new(shared), classifier, own: Own::new(false) }
    }

    /// Asks `classifier` what an end means, and for the call's context. It is cloned with every call: keep that cheap.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> RoundRobin<S, D> {
        RoundRobin { shared: self.shared, classifier, own: self.own }
    }

    /// As [`RoundRobinLayer::reserves_nothing`](super::RoundRobinLayer::reserves_nothing).
    #[must_use]
    pub fn reserves_nothing(self) -> Self {
        Self { own: Own::new(true), ..self }
    }

    /// For services that do not speak HTTP: an answer is a success, an error a failure, and no call knows where it has been.
    #[must_use]
    pub fn for_any(self) -> RoundRobin<S, Any> {
        self.classifier(Any)
    }

    /// Reads and changes the list without a call.
    #[must_use]
    pub fn handle(&self) -> RoundRobinHandle {
        RoundRobinHandle { registry: Arc::clone(&self.shared.registry) }
    }
}

impl<S: Available + Clone> Shared<S> {
    /// The list as it is now.
    pub(super) fn list(&self) -> arc_swap::Guard<Arc<List<S>>> {
        let list = self.list.load();
        if list.set.version == self.registry.version() {
            return list;
        }
        self.refresh();
        self.list.load()
    }

    #[cold]
    fn refresh(&self) {
        let mut make = self.make.lock();
        let set = Arc::clone(&self.registry.set());
        let old = self.list.load();
        if old.set.version != set.version {
            self.list.store(Arc::new(List::new(set, &mut **make, Some(&old))));
        }
    }
}

impl<S: Available + Clone> List<S> {
    fn new(set: Arc<Set>, make: &mut (impl FnMut(&Slot) -> S + ?Sized), old: Option<&Self>) -> Self {
        let service = |slot: &Slot| {
            let survivor = old.and_then(|old| {
                let place = old.set.slots.iter().position(|known| known.member.id == slot.member.id)?;
                old.services.get(place).cloned()
            });
            let service = survivor.unwrap_or_else(|| make(slot));
            slot.member.guarded_by(|| Box::new(service.clone()));
            service
        };
        let services = set.slots.iter().map(service).collect();
        Self { set, services }
    }
}

impl<S, C, Req> Service<Req> for RoundRobin<S, C>
where
    S: TryCall<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RoundRobinFuture<S::Future, S, Req, C>;

    /// Ready at once: which endpoint has to be ready is known in `call` only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let search = Search::new(self.classifier.context(&request).cloned());
        // An endpoint that is ready is called right here, so that the request is not parked in the future and moved again. One
        // that is not is asked again from the future, which is the one to be woken.
        let mut nobody = Context::from_waker(Waker::noop());
        RoundRobinFuture::new(&self.shared, &mut self.own, search, request, self.classifier.clone(), &mut nobody)
    }
}

impl<S, C> Available for RoundRobin<S, C>
where
    S: Available + Clone,
    C: Send + Sync + 'static,
{
    fn availability(&self) -> Availability {
        self.handle().availability()
    }
}

impl<S, C: Clone> Clone for RoundRobin<S, C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), classifier: self.classifier.clone(), own: self.own.fresh() }
    }
}

impl<S, C> fmt::Debug for RoundRobin<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobin").field("endpoints", &self.shared.registry.endpoints()).finish_non_exhaustive()
    }
}
