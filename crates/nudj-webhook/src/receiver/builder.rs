//! [`ReceiverBuilder`].

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::sync::{Notify, Semaphore, watch};

use super::Receiver;
use super::intake::Intake;
use crate::counters::Counters;
use crate::dispatch::{Dispatcher, Handler, Handlers, Phase};
use crate::inbox::{Inbox, MemoryInbox};
use crate::wall_clock::{SystemClock, WallClock};
use crate::{Error, Verifier, WebhookConfig};

/// Puts a [`Receiver`] together: [`Receiver::builder`].
#[must_use = "nothing is received before `build`"]
pub struct ReceiverBuilder {
    config: WebhookConfig,
    secrets: Vec<SecretString>,
    handlers: Handlers,
    inbox: Option<Arc<dyn Inbox>>,
    clock: Arc<dyn WallClock>,
    seed: Option<u64>,
}

impl ReceiverBuilder {
    pub(super) fn new() -> Self {
        Self {
            config: WebhookConfig::default(),
            secrets: Vec::new(),
            handlers: Handlers::default(),
            inbox: None,
            clock: Arc::new(SystemClock),
            seed: None,
        }
    }

    /// All settings. Default [`WebhookConfig::default`].
    pub fn config(mut self, config: WebhookConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a secret; any of those given is accepted. At least one is needed. See [`Verifier::new`] for the forms.
    pub fn secret(mut self, secret: impl Into<SecretString>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Calls `handler` for every event of this name.
    ///
    /// Of several handlers for one event each is repeated on its own: the ones that succeeded are not called again.
    /// Across restarts they are told apart by the event and the order in which they were added.
    pub fn on(mut self, event: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.add(Some(event.into()), Arc::new(handler));
        self
    }

    /// Calls `handler` for every event, known or not. Events without any handler are accepted and done.
    pub fn on_any(mut self, handler: impl Handler) -> Self {
        self.handlers.add(None, Arc::new(handler));
        self
    }

    /// Where deliveries wait. Default: a [`MemoryInbox`] within the limits of the configuration.
    pub fn inbox(mut self, inbox: impl Inbox) -> Self {
        self.inbox = Some(Arc::new(inbox));
        self
    }

    /// The wall clock. Default: the machine's.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Seeds the jitter of retries. Default: differs each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Starts the task that calls the handlers. It ends with [`Receiver::shutdown`], or, once the receiver and all its
    /// services are dropped, when it has handled what is there.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range or an unusable secret, [`Error::NoRuntime`] outside tokio.
    pub fn build(self) -> Result<Receiver, Error> {
        self.config.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let verifier = Verifier::new(self.config.scheme, self.secrets)?
            .with_tolerance(self.config.tolerance)
            .with_static_header(self.config.header_name()?);
        let inbox = self.inbox.unwrap_or_else(|| Arc::new(MemoryInbox::new(&self.config)));
        let counters = Arc::new(Counters::default());
        let wake = Arc::new(Notify::new());
        let (phase, orders) = watch::channel(Phase::Running);
        let dispatcher = Dispatcher {
            inbox: Arc::clone(&inbox),
            handlers: Arc::new(self.handlers),
            queue: self.config.queue.clone(),
            retry: self.config.retry.clone(),
            clock: Arc::clone(&self.clock),
            counters: Arc::clone(&counters),
            rng: self.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            wake: Arc::clone(&wake),
            phase: orders,
        };
        let task = runtime.spawn(dispatcher.run());
        let places = Semaphore::new(self.config.max_in_flight);
        let intake = Intake {
            config: self.config,
            verifier: Arc::new(verifier),
            inbox,
            clock: self.clock,
            counters,
            places,
            wake,
            phase,
        };
        Ok(Receiver::new(Arc::new(intake), task))
    }
}

impl fmt::Debug for ReceiverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverBuilder")
            .field("config", &self.config)
            .field("secrets", &self.secrets.len())
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}
