use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use http::{Extensions, HeaderMap, HeaderName};
use tokio::{sync::Semaphore, time::Instant};
use tower_layer::Layer;

use super::{
    body::{Streaming, Whole},
    config::HttpCacheConfig,
    exchange::Landed,
    key::{Naming, Partition},
    route::{Route, Values},
    service::Cache,
};
use crate::{clock::WallClock, error::CacheError, flight::Flights, multi::MultiLevelCache};

/// Puts a cache in front of a service. See the [module](super) for what it does.
///
/// Cloning it, or calling `layer` twice, shares everything.
pub struct CacheLayer<C = Whole> {
    state: Arc<State>,
    carry: PhantomData<fn() -> C>,
}

/// What all clones share.
pub(super) struct State {
    pub(super) cache: MultiLevelCache,
    pub(super) config: HttpCacheConfig,
    pub(super) routes: Vec<Route>,
    pub(super) naming: Naming,
    pub(super) clock: WallClock,
    pub(super) flights: Flights<Landed>,
    /// Resources that turned out not to be cacheable, and until when that is believed.
    pub(super) uncacheable: moka::sync::Cache<Box<str>, Instant>,
    pub(super) revalidations: Arc<Semaphore>,
}

/// Uncacheable resources remembered.
const UNCACHEABLE: u64 = 10_000;

impl CacheLayer {
    /// A layer over a cache, for services that answer with `Full<Bytes>`, with one partition for all callers.
    ///
    /// # Errors
    /// [`CacheError::Config`] when a field is out of range or a route is broken.
    pub fn new(cache: MultiLevelCache, config: HttpCacheConfig) -> Result<Self, CacheError> {
        config.validate()?;
        let routes = config.routes.iter().map(Route::compile).collect::<Result<_, _>>()?;
        let state = State {
            cache,
            routes,
            naming: Naming::new(Partition::Fixed("".into()), &config.selecting_headers),
            clock: WallClock::default(),
            flights: Flights::new(),
            uncacheable: uncacheable(config.remember_uncacheable),
            revalidations: Arc::new(Semaphore::new(config.max_revalidations)),
            config,
        };
        Ok(Self { state: Arc::new(state), carry: PhantomData })
    }
}

fn uncacheable(ttl: Duration) -> moka::sync::Cache<Box<str>, Instant> {
    // moka's own clock only frees what is old; `State::is_uncacheable` decides on tokio's.
    moka::sync::Cache::builder().max_capacity(UNCACHEABLE).time_to_live(ttl.min(Duration::from_secs(86_400))).build()
}

impl<C> CacheLayer<C> {
    /// Whose answers these are: the stable identity of the credentials used below.
    #[must_use]
    pub fn partition(self, identity: impl Into<Arc<str>>) -> Self {
        let partition = Partition::Fixed(identity.into());
        self.changed(|state| state.naming.partition = partition)
    }

    /// The same, found for each request. A request without one goes past the cache.
    #[must_use]
    pub fn partition_by(
        self,
        identity: impl Fn(&Extensions, &HeaderMap) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let partition = Partition::By(Arc::new(identity));
        self.changed(|state| state.naming.partition = partition)
    }

    /// A further request header that tells identities apart. Authorization, Cookie, Proxy-Authorization, X-Api-Token and
    /// X-Api-Key always do.
    #[must_use]
    pub fn credential_header(self, name: HeaderName) -> Self {
        self.changed(|state| state.naming.credentials.push(name))
    }

    /// Where the wall clock is read, which `Date` and `Expires` are compared with.
    #[must_use]
    pub fn clock(self, clock: WallClock) -> Self {
        self.changed(|state| state.clock = clock)
    }

    /// For services with any body: answers come as [`CacheBody`](super::CacheBody).
    #[must_use]
    pub fn streaming(self) -> CacheLayer<Streaming> {
        self.carrying()
    }

    /// For bodies handed out in a way of your own.
    #[must_use]
    pub fn carrying<D>(self) -> CacheLayer<D> {
        CacheLayer { state: self.state, carry: PhantomData }
    }

    /// The cache behind it.
    #[must_use]
    pub fn cache(&self) -> &MultiLevelCache {
        &self.state.cache
    }

    /// The same settings with a state of its own: flights and knowledge of what is not cacheable. The cache behind it
    /// stays the same.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self { state: Arc::new(self.state.renewed()), carry: PhantomData }
    }

    fn changed(self, change: impl FnOnce(&mut State)) -> Self {
        let mut state = Arc::try_unwrap(self.state).unwrap_or_else(|shared| shared.renewed());
        change(&mut state);
        Self { state: Arc::new(state), carry: PhantomData }
    }
}

impl State {
    fn renewed(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            config: self.config.clone(),
            // Compiled once without an error, so again.
            routes: self.config.routes.iter().flat_map(Route::compile).collect(),
            naming: self.naming.clone(),
            clock: self.clock.clone(),
            flights: Flights::new(),
            uncacheable: uncacheable(self.config.remember_uncacheable),
            revalidations: Arc::new(Semaphore::new(self.config.max_revalidations)),
        }
    }

    /// The first route whose path fits.
    pub(super) fn route<'a>(&'a self, path: &'a str) -> Option<(&'a Route, Values<'a>)> {
        self.routes.iter().find_map(|route| Some((route, route.matches(path)?)))
    }

    pub(super) fn is_uncacheable(&self, key: &str, now: Instant) -> bool {
        self.uncacheable.get(key).is_some_and(|until| now < until)
    }

    pub(super) fn remember_uncacheable(&self, key: &str) {
        if let Some(until) = Instant::now().checked_add(self.config.remember_uncacheable) {
            self.uncacheable.insert(key.into(), until);
        }
    }
}

impl<S, C> Layer<S> for CacheLayer<C> {
    type Service = Cache<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Cache::new(inner, Arc::clone(&self.state))
    }
}

impl<C> Clone for CacheLayer<C> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), carry: PhantomData }
    }
}

impl<C> fmt::Debug for CacheLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("cache", &self.state.cache)
            .field("config", &self.state.config)
            .field("partition", &self.state.naming.partition)
            .finish_non_exhaustive()
    }
}
