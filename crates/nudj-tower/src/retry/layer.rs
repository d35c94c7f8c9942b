use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Backoff, Exponential, KeepClone, KeepHttp, KeepReplay, ReplayingRetry, Retry, RetryBudget, RetryConfig,
    decision::Rules,
    policy::{Policy, Seeds},
};
use crate::{
    ConfigError,
    classify::{Any, Http},
    observe::Observers,
};

/// Sends requests again. See the [module's page](super).
#[derive(Clone)]
pub struct RetryLayer<C = Http, K = KeepHttp> {
    config: RetryConfig,
    unsafe_methods: bool,
    backoff: Backoff,
    classifier: C,
    keep: K,
    budget: Option<RetryBudget>,
    observers: Observers,
    seeds: Arc<Seeds>,
}

impl RetryLayer {
    /// Retries HTTP requests whose body is `Clone`.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of range.
    pub fn new(config: RetryConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            unsafe_methods: false,
            backoff: Exponential::from(&config).into(),
            classifier: Http::default(),
            keep: KeepHttp,
            budget: Some(RetryBudget::unchecked(config.budget)),
            observers: Observers::default(),
            seeds: Arc::new(Seeds::new(fastrand::u64(..))),
            config,
        })
    }
}

impl RetryLayer<Any, KeepClone> {
    /// Retries requests of any kind that are `Clone`. The classifier [`Any`] calls nothing idempotent, so what may have taken
    /// effect is repeated only with [`unsafe_methods`](Self::unsafe_methods) or a classifier of your own.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is out of range.
    pub fn for_any(config: RetryConfig) -> Result<Self, ConfigError> {
        Ok(RetryLayer::new(config)?.map(|_, _| (Any, KeepClone)))
    }
}

impl<C> RetryLayer<C, KeepHttp> {
    /// Retries HTTP requests whose body need not be `Clone`: below this layer they carry a [`ReplayBody`](super::ReplayBody) that
    /// keeps up to `cap` bytes of what was sent. A longer body is sent once, in full; a request whose body is gone is not repeated.
    /// [`DEFAULT_REPLAY_CAP`](super::DEFAULT_REPLAY_CAP) is 64 KiB.
    #[must_use]
    pub fn replaying(self, cap: usize) -> ReplayingRetryLayer<C> {
        ReplayingRetryLayer { layer: self.map(|classifier, _| (classifier, KeepReplay)), cap }
    }
}

impl<C, K> RetryLayer<C, K> {
    fn map<D, L>(self, change: impl FnOnce(C, K) -> (D, L)) -> RetryLayer<D, L> {
        let (classifier, keep) = change(self.classifier, self.keep);
        RetryLayer {
            config: self.config,
            unsafe_methods: self.unsafe_methods,
            backoff: self.backoff,
            classifier,
            keep,
            budget: self.budget,
            observers: self.observers,
            seeds: self.seeds,
        }
    }

    /// Asks `classifier` what an answer means.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> RetryLayer<D, K> {
        self.map(|_, keep| (classifier, keep))
    }

    /// Tells `observers` about each repeat and each one that the budget refused.
    #[must_use]
    pub fn observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Repeats other methods than idempotent ones as if they were: a POST may then take effect twice.
    #[must_use]
    pub fn unsafe_methods(mut self, allow: bool) -> Self {
        self.unsafe_methods = allow;
        self
    }

    /// Takes the waits from elsewhere than the configured schedule.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Backoff>) -> Self {
        self.backoff = backoff.into();
        self
    }

    /// Draws from `seed`, so that a test or a replay sees the same waits.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Arc::new(Seeds::new(seed));
        self
    }

    /// Keeps within `budget`, together with whoever else does.
    #[must_use]
    pub fn share_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sends again without regard to how much load that adds. Mind that a failing server then sees `1 + max_retries` times the calls.
    #[must_use]
    pub fn without_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// The budget, to read it or to share it; `None` without one.
    #[must_use]
    pub fn handle(&self) -> Option<RetryBudget> {
        self.budget.clone()
    }

    /// The same rules with a budget and randomness of their own.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.budget = self.budget.map(|_| RetryBudget::unchecked(self.config.budget));
        self.seeds = Arc::new(Seeds::new(fastrand::u64(..)));
        self
    }
}

impl<S: Clone, C: Clone, K: Clone> Layer<S> for RetryLayer<C, K> {
    type Service = Retry<S, C, K>;

    fn layer(&self, inner: S) -> Self::Service {
        let policy = Policy {
            rules: Rules {
                max_retries: self.config.max_retries,
                max_retry_after: self.config.max_retry_after,
                unsafe_methods: self.unsafe_methods,
            },
            backoff: self.backoff.clone(),
            classifier: self.classifier.clone(),
            keep: self.keep.clone(),
            budget: self.budget.clone(),
            observers: self.observers.clone(),
            seeds: Arc::clone(&self.seeds),
        };
        Retry::new(policy, inner)
    }
}

impl<C, K> fmt::Debug for RetryLayer<C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer")
            .field("config", &self.config)
            .field("unsafe_methods", &self.unsafe_methods)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// Sends requests with streaming bodies again; made by [`RetryLayer::replaying`].
#[derive(Clone, Debug)]
pub struct ReplayingRetryLayer<C = Http> {
    layer: RetryLayer<C, KeepReplay>,
    cap: usize,
}

impl<S: Clone, C: Clone> Layer<S> for ReplayingRetryLayer<C> {
    type Service = ReplayingRetry<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplayingRetry::new(self.layer.layer(inner), self.cap)
    }
}
