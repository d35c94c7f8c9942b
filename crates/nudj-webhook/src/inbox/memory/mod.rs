//! [`MemoryInbox`]: the default. Needs nothing, survives nothing.

mod guarded;
mod state;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use self::guarded::Guarded;
use self::state::State;
use super::{Arrival, Claimed, DeadLetter, Inbox, Limits, Recorded, ReplayGuard, Settlement, Swept};
use crate::Error;

/// Keeps deliveries in memory, bounded in number and bytes. What is not handled when the process ends is lost: choose
/// an SQL inbox where that matters.
#[derive(Debug)]
pub struct MemoryInbox {
    state: Arc<Mutex<State>>,
    /// How long ids are remembered.
    retention: Duration,
    guarded: Option<Guarded>,
}

impl MemoryInbox {
    /// An empty one.
    pub fn new(limits: impl Into<Limits>) -> Self {
        let limits = limits.into();
        Self { retention: limits.retention, state: Arc::new(Mutex::new(State::new(limits))), guarded: None }
    }

    /// Also asks `guard`, which several receivers share. When it cannot be asked, deliveries are answered 503.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl ReplayGuard) -> Self {
        self.guarded = Some(Guarded::new(guard, self.retention));
        self
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    fn is_durable(&self) -> bool {
        false
    }

    async fn record(&self, arrival: Arrival) -> Result<Recorded, Error> {
        let work = {
            let mut state = self.state.lock();
            let recorded = state.reserve(&arrival);
            if recorded != Recorded::New {
                return Ok(recorded);
            }
            let Some(guarded) = self.guarded.clone() else {
                // Not closed, since the lock was held all the time.
                state.insert(arrival);
                return Ok(recorded);
            };
            let place = guarded.place(Arc::clone(&self.state), arrival.body.len());
            guarded.record(place, arrival)
        };
        tokio::spawn(work).await.unwrap_or_else(|gone| Err(Error::Store(gone.into())))
    }

    fn close_if_idle(&self) -> bool {
        self.state.lock().close_if_idle()
    }

    fn close(&self) {
        self.state.lock().close();
    }

    async fn recorded(&self) {
        match &self.guarded {
            Some(guarded) => guarded.recorded().await,
            None => std::future::pending().await,
        }
    }

    async fn claim(&self, limit: usize, now: i64, _lease: Duration) -> Result<Vec<Claimed>, Error> {
        Ok(self.state.lock().claim(limit, now))
    }

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error> {
        self.state.lock().settle(claimed, settlement, now);
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        Ok(self.state.lock().next_due())
    }

    fn depth(&self) -> u64 {
        self.state.lock().depth() as u64
    }

    fn dead_letter_count(&self) -> u64 {
        self.state.lock().dead().len() as u64
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.state.lock().dead().take(limit).cloned().collect())
    }

    async fn replay(&self, id: &str, now: i64) -> Result<bool, Error> {
        Ok(self.state.lock().replay(id, now))
    }

    async fn discard(&self, id: &str, _now: i64) -> Result<bool, Error> {
        Ok(self.state.lock().discard(id))
    }

    async fn sweep(&self, _now: i64) -> Result<Swept, Error> {
        // Old ids go when the next one is looked up.
        Ok(Swept { dropped_dead_letters: self.state.lock().take_dropped() })
    }
}
