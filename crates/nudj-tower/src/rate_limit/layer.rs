use std::{fmt, hash::Hash, sync::Arc, time::SystemTime};

use tower_layer::Layer;

use super::{
    config::RateLimitConfig,
    gate::Settings,
    handle::{KeyedRateLimitHandle, RateLimitHandle},
    keys::{KeyMap, Keyed, Single},
    rules::Rules,
    service::RateLimit,
};
use crate::{
    Available, ConfigError,
    classify::{Any, Http},
    observe::Observers,
};

/// Puts a [`RateLimit`] around a service.
///
/// The quota lives here: all services that this layer and its clones make share it. [`fresh`](Self::fresh) gives a separate one.
#[derive(Clone)]
pub struct RateLimitLayer<C = Http, L = Single> {
    config: RateLimitConfig,
    settings: Arc<Settings>,
    limiters: L,
    rules: Rules<C>,
}

impl RateLimitLayer {
    /// One quota for all calls, learning from HTTP's answers.
    ///
    /// # Errors
    /// As [`RateLimitConfig::validate`].
    pub fn new(config: &RateLimitConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let settings = Arc::new(Settings::new(config));
        Ok(Self { config: *config, limiters: Single::new(&settings), settings, rules: Rules::new() })
    }

    /// A quota for each key that `key` finds in a request: per user, per route. At most `max_keys` of them are kept.
    ///
    /// ```
    /// # use nudj_tower::rate_limit::{RateLimitConfig, RateLimitLayer};
    /// let layer = RateLimitLayer::keyed(&RateLimitConfig::default(), |request: &http::Request<()>| {
    ///     request.headers().get("x-user-id").cloned()
    /// })?;
    /// assert_eq!(layer.handle().keys(), 0);
    /// # Ok::<(), nudj_tower::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As [`RateLimitConfig::validate`].
    pub fn keyed<Req, F, K>(config: &RateLimitConfig, key: F) -> Result<RateLimitLayer<Http, Keyed<F, K>>, ConfigError>
    where
        F: Fn(&Req) -> K,
        K: Eq + Hash + Send + Sync + 'static,
    {
        config.validate()?;
        let settings = Arc::new(Settings::new(config));
        let map = KeyMap::new(Arc::clone(&settings), config.max_keys);
        Ok(RateLimitLayer { config: *config, limiters: Keyed::new(key, map), settings, rules: Rules::new() })
    }
}

impl<C> RateLimitLayer<C> {
    /// Reads and drives the limiter without a call.
    #[must_use]
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle::new(self.limiters.lease())
    }

    /// The same rules over a quota of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        let settings = Arc::new(Settings::new(&self.config));
        Self { config: self.config, limiters: Single::new(&settings), settings, rules: self.rules.clone() }
    }
}

impl<C, F, K: Eq + Hash + Send + Sync + 'static> RateLimitLayer<C, Keyed<F, K>> {
    /// Reads and drives the limiters without a call.
    #[must_use]
    pub fn handle(&self) -> KeyedRateLimitHandle<K> {
        KeyedRateLimitHandle::new(Arc::clone(&self.settings), Arc::clone(self.limiters.map()))
    }

    /// The same rules over quotas of their own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
        F: Clone,
    {
        let settings = Arc::new(Settings::new(&self.config));
        let map = KeyMap::new(Arc::clone(&settings), self.config.max_keys);
        Self { config: self.config, limiters: self.limiters.over(map), settings, rules: self.rules.clone() }
    }
}

impl<C, L> RateLimitLayer<C, L> {
    /// Asks `classifier` which answers mean "too much", and for contexts and headers.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> RateLimitLayer<D, L> {
        let Self { config, settings, limiters, rules } = self;
        RateLimitLayer { config, settings, limiters, rules: rules.classifier(classifier) }
    }

    /// For services that do not speak HTTP: no headers, no deadline, nothing learned.
    #[must_use]
    pub fn for_any(self) -> RateLimitLayer<Any, L> {
        self.classifier(Any)
    }

    /// Tells `observers` of waits, refusals and pauses.
    #[must_use]
    pub fn observers(mut self, observers: Observers) -> Self {
        self.rules.observers = observers;
        self
    }

    /// Asks `endpoints`, a balancer's handle, before quota is taken and at the head of the queue: while none is available, calls are
    /// refused at once as [`CircuitOpen`](crate::Rejection::CircuitOpen).
    #[must_use]
    pub fn asks(mut self, endpoints: Arc<dyn Available>) -> Self {
        self.rules.endpoints = Some(endpoints);
        self
    }

    /// Reads the time of day for reset times here instead of from the system.
    #[must_use]
    pub fn wall_clock(mut self, wall_clock: fn() -> SystemTime) -> Self {
        self.rules.wall_clock = wall_clock;
        self
    }
}

impl<S, C: Clone, L: Clone> Layer<S> for RateLimitLayer<C, L> {
    type Service = RateLimit<S, C, L>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiters.clone(), self.rules.clone())
    }
}

impl<C, L> fmt::Debug for RateLimitLayer<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("config", &self.config).finish_non_exhaustive()
    }
}
