//! [`MemoryBus`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::MemoryConfig;
use super::queue::Queue;
use crate::{
    Error,
    event::{Claimed, DeadLetter, Event, EventBus, Lag, Published, Settlement},
    until::from_now,
};

/// A bus inside the process: events are lost with it. Clones are one bus.
///
/// Publishing waits while the bus is full, for [`MemoryConfig::publish_timeout`]: producers are slowed down to the pace of the handlers.
/// A handler gives back what follows, instead of publishing it: then it never waits for the room that only its own end would make.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: MemoryConfig,
    queue: Mutex<Queue>,
    /// Something may be there to claim.
    filled: Notify,
    /// There may be room.
    freed: Notify,
}

impl MemoryBus {
    /// An empty bus.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: MemoryConfig) -> Result<Self, Error> {
        config.validate()?;
        let queue = Mutex::new(Queue::new(config.after_dead_letter, config.remembered));
        Ok(Self { shared: Arc::new(Shared { config, queue, filled: Notify::new(), freed: Notify::new() }) })
    }

    /// `None`: there is no room.
    fn try_publish(&self, event: &Event) -> Option<Published> {
        let mut queue = self.shared.queue.lock();
        // A repeat needs no room.
        let published = if queue.knows(&event.id) {
            Published::Duplicate
        } else if queue.len() < self.shared.config.capacity {
            let published = queue.publish(event.clone(), Instant::now());
            self.shared.filled.notify_one();
            published
        } else {
            return None;
        };
        if queue.len() < self.shared.config.capacity {
            // What is freed wakes one publisher; it passes the word on, whether it took the room or not.
            self.shared.freed.notify_one();
        }
        Some(published)
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    /// `memory`; each of several in one process is to have a consumer with a name of its own where they share notes.
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("memory")
    }

    async fn publish(&self, event: &Event) -> Result<Published, Error> {
        event.check()?;
        let published = timeout(self.shared.config.publish_timeout, async {
            loop {
                // Listens before it looks, or it would miss what is freed in between.
                let freed = self.shared.freed.notified();
                if let Some(published) = self.try_publish(event) {
                    return published;
                }
                freed.await;
            }
        });
        published.await.map_err(|_| Error::BusFull)
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        Ok(self.shared.queue.lock().claim(limit, Instant::now(), lease))
    }

    async fn settle(&self, claimed: &Claimed, settlement: &Settlement) -> Result<bool, Error> {
        let settled = self.shared.queue.lock().settle(claimed, settlement, Instant::now());
        if settled {
            self.shared.freed.notify_one();
            self.shared.filled.notify_one();
        }
        Ok(settled)
    }

    async fn changed(&self, at_most: Duration) {
        let filled = self.shared.filled.notified();
        let longest = from_now(at_most);
        let due = self.shared.queue.lock().next_due();
        tokio::select! {
            () = filled => {}
            () = sleep_until(due.map_or(longest, |due| due.min(longest))) => {}
        }
    }

    async fn lag(&self) -> Result<Lag, Error> {
        Ok(self.shared.queue.lock().lag(Instant::now()))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.shared.queue.lock().dead_letters(limit))
    }

    async fn replay(&self, id: &str) -> Result<bool, Error> {
        let found = self.shared.queue.lock().replay(id, Instant::now());
        self.shared.filled.notify_one();
        Ok(found)
    }

    async fn discard(&self, id: &str) -> Result<bool, Error> {
        let found = self.shared.queue.lock().discard(id, Instant::now());
        self.shared.filled.notify_one();
        self.shared.freed.notify_one();
        Ok(found)
    }

    async fn sweep(&self) -> Result<(), Error> {
        Ok(())
    }
}
