//! [`ProcessedIds`]: which handler has done which event.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Event;
use crate::Error;

/// Remembers which handler has handled which event, and what followed from it. A consumer asks it before each handler and tells it after
/// each success, so that one of several handlers that failed does not repeat the others.
///
/// Between a handler's effect and the note of it the process may die; then the handler is called again. Where the effect is a row in
/// the same database, make both in one transaction: `SqliteProcessed::record_in`, `PostgresProcessed::record_in`.
#[async_trait]
pub trait ProcessedIds: fmt::Debug + Send + Sync + 'static {
    /// What followed from the event when this handler handled it; `None` when it did not, or when that is forgotten by now.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    async fn find(&self, handler: &str, event_id: &str) -> Result<Option<Vec<Event>>, Error>;

    /// Notes that this handler has handled the event.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn record(&self, handler: &str, event_id: &str, follow_ups: &[Event]) -> Result<(), Error>;

    /// Forgets what is older than the store is to remember.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn sweep(&self) -> Result<(), Error>;
}

/// By handler and event id.
type Done = HashMap<(String, String), (Instant, Vec<Event>)>;

/// Remembers in memory: enough for handlers that share an event, not for a restart.
#[derive(Debug)]
pub struct MemoryProcessed {
    retention: Duration,
    most: usize,
    done: Mutex<Done>,
}

impl MemoryProcessed {
    /// Remembers for `retention`, and at most `most` entries: when they are reached, what is oldest goes first, a tenth at a time.
    #[must_use]
    pub fn new(retention: Duration, most: usize) -> Self {
        Self { retention, most, done: Mutex::default() }
    }

    fn forget(&self, done: &mut Done) {
        let now = Instant::now();
        done.retain(|_, (at, _)| now.saturating_duration_since(*at) < self.retention);
        if done.len() >= self.most.max(1) {
            let mut ages: Vec<Instant> = done.values().map(|(at, _)| *at).collect();
            let (_, edge, _) = ages.select_nth_unstable(done.len() / 10);
            let edge = *edge;
            done.retain(|_, (at, _)| *at > edge);
        }
    }
}

#[async_trait]
impl ProcessedIds for MemoryProcessed {
    async fn find(&self, handler: &str, event_id: &str) -> Result<Option<Vec<Event>>, Error> {
        let done = self.done.lock();
        let found = done.get(&(handler.to_owned(), event_id.to_owned()));
        Ok(found.filter(|(at, _)| at.elapsed() < self.retention).map(|(_, follow_ups)| follow_ups.clone()))
    }

    async fn record(&self, handler: &str, event_id: &str, follow_ups: &[Event]) -> Result<(), Error> {
        let mut done = self.done.lock();
        if done.len() >= self.most {
            self.forget(&mut done);
        }
        done.insert((handler.to_owned(), event_id.to_owned()), (Instant::now(), follow_ups.to_vec()));
        Ok(())
    }

    async fn sweep(&self) -> Result<(), Error> {
        self.forget(&mut self.done.lock());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_too_old_is_forgotten_and_the_store_stays_within_its_bound() {
        let store = MemoryProcessed::new(Duration::from_secs(60), 100);
        store.record("a#0", "first", &[]).await.unwrap();
        assert_eq!(store.find("a#0", "first").await.unwrap(), Some(Vec::new()));
        assert_eq!(store.find("a#1", "first").await.unwrap(), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(store.find("a#0", "first").await.unwrap(), None);
        for number in 0..1000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            store.record("a#0", &number.to_string(), &[]).await.unwrap();
            assert!(store.done.lock().len() <= 100);
        }
        assert!(store.find("a#0", "999").await.unwrap().is_some());
        assert!(store.find("a#0", "1").await.unwrap().is_none());
    }
}
