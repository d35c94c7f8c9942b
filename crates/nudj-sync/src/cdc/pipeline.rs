use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    apply::Shared,
    change::Position,
    config::CdcConfig,
    ended::Ended,
    feed::{Feed, Mappings},
    ledger::Ledger,
    mapping::Mapping,
    source::{ChangeSource, Lag},
    state::{CdcState, Progress},
    window::Window,
    worker::Worker,
};
use crate::{Error, Remote, SystemClock, WallClock};

/// What a pipeline has done since it was started, and where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Changes that got through.
    pub applied: u64,
    /// Changes that became dead letters.
    pub buried: u64,
    /// Changes of tables without a mapping, passed over.
    pub unmapped: u64,
    /// Attempts that failed and were repeated.
    pub retries: u64,
    /// Snapshots that were begun.
    pub snapshots: u64,
    /// How often the stream had to be opened again.
    pub stream_failures: u64,
    /// Changes in the window now.
    pub waiting: usize,
    /// Nothing waits: the source was empty when last read, and all it gave is at Nudj and written down.
    pub caught_up: bool,
    /// How far behind the source is, as last measured.
    pub lag: Lag,
    /// The position written last.
    pub position: Option<Position>,
    /// The last failed attempt of a change.
    pub last_failure: Option<String>,
    /// The last failure of the source or the state.
    pub last_stream_error: Option<String>,
}

/// Puts a [`Pipeline`] together.
pub struct PipelineBuilder {
    source: Box<dyn ChangeSource>,
    state: Arc<dyn CdcState>,
    remote: Arc<dyn Remote>,
    mappings: Mappings,
    config: CdcConfig,
    clock: Arc<dyn WallClock>,
    rng: fastrand::Rng,
}

impl PipelineBuilder {
    /// Maps a table. Changes of tables without a mapping are counted and passed over.
    #[must_use]
    pub fn map(mut self, table: impl Into<String>, mapping: impl Mapping + 'static) -> Self {
        self.mappings.insert(table.into(), Arc::new(mapping));
        self
    }

    /// Other numbers than the defaults.
    #[must_use]
    pub fn config(mut self, config: CdcConfig) -> Self {
        self.config = config;
        self
    }

    /// The clock that stamps dead letters.
    #[must_use]
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Fixes the jitter, for tests.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = fastrand::Rng::with_seed(seed);
        self
    }

    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn start(self) -> Result<Pipeline, Error> {
        self.config.validate()?;
        if self.mappings.is_empty() {
            return Err(Error::config("cdc.map", "is called for no table: nothing would ever be sent"));
        }
        let mappings = Arc::new(self.mappings);
        let ledger = Arc::new(Ledger::new(Arc::clone(&self.state)));
        let (stop, stopping) = watch::channel(false);
        let (status, statuses) = watch::channel(Status::default());
        let feed = Feed::new(self.source, Arc::clone(&self.state), Arc::clone(&mappings), Arc::clone(&ledger));
        let shared = Arc::new(Shared {
            remote: self.remote,
            state: Arc::clone(&self.state),
            mappings,
            ledger,
            config: self.config,
            clock: self.clock,
            rng: Mutex::new(self.rng),
            passed: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            last_failure: Mutex::new(None),
            stopping,
        });
        let worker = Worker {
            shared,
            status,
            window: Window::new(),
            progress: Progress::default(),
            unlinked: Vec::new(),
            unlinking: Vec::new(),
            ended: Ended::default(),
            reached: None,
            failures: 0,
            source_was_empty: false,
            commit_failed: false,
        };
        let task = tokio::spawn(worker.run(feed));
        Ok(Pipeline { task: Some(task), stop, status: statuses, state: self.state })
    }
}

impl fmt::Debug for PipelineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A running pipeline. Dropped, it ends at once, as if the process had died; [`stop`](Self::stop) ends it in order.
pub struct Pipeline {
    task: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    status: watch::Receiver<Status>,
    state: Arc<dyn CdcState>,
}

impl Pipeline {
    /// Begins with where changes come from, what is remembered, and where they go.
    pub fn builder(
        source: impl ChangeSource + 'static,
        state: impl CdcState + 'static,
        remote: impl Remote + 'static,
    ) -> PipelineBuilder {
        PipelineBuilder {
            source: Box::new(source),
            state: Arc::new(state),
            remote: Arc::new(remote),
            mappings: Mappings::new(),
            config: CdcConfig::default(),
            clock: Arc::new(SystemClock),
            rng: fastrand::Rng::new(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until `wanted` is true of the status; false when the pipeline ended before. May be dropped at any time.
    pub async fn wait_for(&self, wanted: impl FnMut(&Status) -> bool) -> bool {
        self.status.clone().wait_for(wanted).await.is_ok()
    }

    /// The state, for its dead letters: [`CdcState::dead_letters`], [`CdcState::replay`].
    #[must_use]
    pub fn state(&self) -> &dyn CdcState {
        &*self.state
    }

    /// Begins nothing new, waits for the calls under way, at most `grace`, and writes the position. What is left is done by the
    /// next pipeline. True when all calls under way came to their end.
    pub async fn stop(mut self, grace: Duration) -> bool {
        let _ = self.stop.send(true);
        let Some(mut task) = self.task.take() else { return true };
        let ended = tokio::time::timeout(grace, &mut task).await;
        if ended.is_err() {
            task.abort();
        }
        matches!(ended, Ok(Ok(())))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("status", &*self.status.borrow()).finish_non_exhaustive()
    }
}
