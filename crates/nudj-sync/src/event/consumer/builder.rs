//! [`ConsumerBuilder`].

use std::sync::Arc;

use tokio::sync::watch;

use super::handle::Consumer;
use super::looper::{Looper, Phase};
use super::worker::Work;
use crate::Error;
use crate::event::handler::{Handler, Handlers};
use crate::event::{ConsumerConfig, EventBus, ProcessedIds};
use crate::status::{Observed, SyncObserver};

/// Sets up a [`Consumer`].
#[derive(Debug)]
#[must_use = "a consumer does nothing until it is started"]
pub struct ConsumerBuilder {
    bus: Arc<dyn EventBus>,
    handlers: Handlers,
    processed: Option<Arc<dyn ProcessedIds>>,
    config: ConsumerConfig,
    seed: Option<u64>,
    observed: Observed,
}

impl ConsumerBuilder {
    pub(super) fn new(bus: Arc<dyn EventBus>) -> Self {
        Self {
            bus,
            handlers: Handlers::default(),
            processed: None,
            config: ConsumerConfig::default(),
            seed: None,
            observed: Observed::default(),
        }
    }

    /// Handles a topic's events. Several handlers of one event are called one after the other, in the order they were given here; an
    /// event that none handles becomes a dead letter, so that nothing is dropped.
    pub fn on(mut self, topic: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.add(Some(topic.into()), Arc::new(handler));
        self
    }

    /// Handles every event, whatever its topic.
    pub fn on_any(mut self, handler: impl Handler) -> Self {
        self.handlers.add(None, Arc::new(handler));
        self
    }

    /// Asks this store before each handler, and tells it after each success.
    pub fn processed(mut self, store: impl ProcessedIds) -> Self {
        self.processed = Some(Arc::new(store));
        self
    }

    /// Workers, time limits, retries.
    pub fn config(mut self, config: ConsumerConfig) -> Self {
        self.config = config;
        self
    }

    /// Told once a second, and at the end, what was handled and how far behind the bus is. Without one the bus is not asked.
    pub fn observer(mut self, observer: impl SyncObserver) -> Self {
        self.observed = Observed::by(observer);
        self
    }

    /// Makes the backoff's jitter repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts handling, on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`]: a field out of range, no handler, or no runtime.
    pub fn start(self) -> Result<Consumer, Error> {
        self.config.validate()?;
        self.handlers.check()?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Error::config("start", "must be called inside a tokio runtime"))?;
        let work = Arc::new(Work {
            bus: self.bus,
            handlers: self.handlers,
            processed: self.processed,
            config: self.config,
            counters: Arc::default(),
            rng: parking_lot::Mutex::new(self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed)),
            stop: super::worker::Stop::default(),
            observed: self.observed,
        });
        let (phase, told) = watch::channel(Phase::Running);
        let counters = Arc::clone(&work.counters);
        let task = runtime.spawn(Looper { work, phase: told }.run());
        Ok(Consumer::new(task, phase, counters))
    }
}
