use std::time::Duration;

use tokio::sync::oneshot;

use super::{Endpoint, Grant, PoolError};

/// A place in the queue. Dropping it gives the place up; a connection that was granted meanwhile goes back.
pub(super) struct Ticket<'e> {
    pub(super) endpoint: &'e Endpoint,
    pub(super) receiver: oneshot::Receiver<Grant>,
    pub(super) id: u64,
}

impl Ticket<'_> {
    pub(super) async fn wait(mut self, limit: Duration) -> Grant {
        match tokio::time::timeout(limit, &mut self.receiver).await {
            Ok(granted) => granted.unwrap_or(Err(PoolError::RuntimeGone)),
            Err(_) if self.endpoint.slots.lock().only_making() => Err(PoolError::Unmade { limit }),
            Err(_) => Err(PoolError::Busy { limit }),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let waiter = self.endpoint.slots.lock().abandon(self.id);
        drop(waiter);
    }
}
