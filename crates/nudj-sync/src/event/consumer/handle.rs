//! [`Consumer`].

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::builder::ConsumerBuilder;
use super::counters::{Counters, Snapshot};
use super::looper::Phase;
use crate::{event::EventBus, until::from_now};

/// Handles the events of a bus until it is shut down. Several consumers, in one process or in many, may share a bus: each event is handled
/// by one of them.
///
/// When it is dropped it claims nothing more, and what it has in hand is still finished.
#[derive(Debug)]
pub struct Consumer {
    task: JoinHandle<u64>,
    phase: watch::Sender<Phase>,
    counters: Arc<Counters>,
}

/// How a consumer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Handlers that were cut off by the deadline; their events were given back and will be handled again.
    pub cut_off: u64,
}

impl Consumer {
    /// A consumer of this bus, to be set up.
    pub fn builder(bus: impl EventBus) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::new(bus))
    }

    /// The same for a bus that is shared.
    pub fn of(bus: Arc<dyn EventBus>) -> ConsumerBuilder {
        ConsumerBuilder::new(bus)
    }

    pub(super) fn new(task: JoinHandle<u64>, phase: watch::Sender<Phase>, counters: Arc<Counters>) -> Self {
        Self { task, phase, counters }
    }

    /// What it did so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// Claims nothing more, finishes what is in hand, and returns: after `deadline` at the latest, plus the time that the bus needs to
    /// take back what was cut off, 10 s at most. Events that wait stay on the bus; those of a memory bus are there while the bus is. A
    /// claim that is under way counts as in hand; the deadline cuts it off, and what it took comes again when its lease has run out.
    ///
    /// Dropping this future does not stop the shutdown.
    pub async fn shutdown(self, deadline: Duration) -> DrainReport {
        self.phase.send_replace(Phase::Draining(from_now(deadline)));
        DrainReport { cut_off: self.task.await.unwrap_or(0) }
    }

    /// Ends at once, as a crash would: handlers are dropped where they are and nothing is settled, so their events are given out again
    /// when their leases have run out.
    pub async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
