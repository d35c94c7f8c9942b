//! [`ConsumerBuilder`].

use std::sync::Arc;

use tokio::sync::watch;

use super::handle::Consumer;
use super::looper::{Looper, Phase};
use super::worker::Work;
use crate::Error;
use crate::event::handler::{Handler, Handlers, is_word};
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
    name: Option<String>,
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
            name: None,
        }
    }

    /// Handles a topic's events. Several handlers of one event are called one after the other, in the order they were given here; an
    /// event that none handles becomes a dead letter, so that nothing is dropped.
    ///
    /// A store of processed ids knows a topic's handlers by their numbers: put a further one behind the others, or give all of them names by
    /// [`named`](Self::named). One that is put in front takes the notes of the one that was there.
    pub fn on(mut self, topic: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.add(Some(topic.into()), Arc::new(handler));
        self
    }

    /// Handles every event, whatever its topic.
    pub fn on_any(mut self, handler: impl Handler) -> Self {
        self.handlers.add(None, Arc::new(handler));
        self
    }

    /// Gives the handler that was added last a name, 1 to 128 of A-Z a-z 0-9 . - _: the store of processed ids knows it by topic and name, and
    /// no longer by its number, wherever it stands. Of one topic each has another, or none has one. Handlers that had numbers keep their notes when they
    /// are named by them, `0`, `1` and so on.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.handlers.name_last(name.into());
        self
    }

    /// Asks this store before each handler, and tells it after each success.
    ///
    /// Consumers of several buses may share a store: their notes have the bus's name in them, an outbox's queue (but for the default one) or
    /// a JetStream bus's stream. Where that does not tell them apart, as with buses of one name in two databases,
    /// [`name`](Self::name) does; else one would take for done what the other has done.
    pub fn processed(mut self, store: impl ProcessedIds) -> Self {
        self.processed = Some(Arc::new(store));
        self
    }

    /// What this consumer is called in the store of processed ids, in place of its bus's name: 1 to 128 of A-Z a-z 0-9 . - _, the same in
    /// all processes that share the bus. With another one than before, events that were half done are done again.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
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
    /// [`Error::Config`]: a field out of range, a lease that the bus does not give, no handler, a name that is wrong or taken, or no runtime.
    pub fn start(mut self) -> Result<Consumer, Error> {
        self.config.validate()?;
        self.handlers.check()?;
        self.bus.check_lease(self.config.lease)?;
        let is_name = self.name.as_deref().is_none_or(is_word);
        Error::first_wrong(&[(is_name, "name", "must be 1 to 128 of A-Z a-z 0-9 . - _")])?;
        self.handlers.note_as(&self.name.map_or_else(|| self.bus.name(), Into::into));
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
