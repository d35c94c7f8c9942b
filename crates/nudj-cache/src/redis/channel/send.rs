//! The sending half: messages wait in a queue, and one task at a time sends them.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use redis::{aio::ConnectionManager, cmd};

use super::{Inner, Message};
use crate::{invalidation::Invalidation, level::LevelError, redis::connection::manager};

/// Messages kept while the channel is lost. Beyond it the oldest is given up: what it names lives to its TTL in the
/// other processes' memory, or until they lose the channel too.
const MAX_PENDING: usize = 1024;
/// Names in one message.
const NAMES: usize = 256;

/// Messages to be sent, in order.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) messages: VecDeque<Bytes>,
    /// Messages taken off: sent, or given up.
    taken: u64,
}

impl Pending {
    fn take_off(&mut self) {
        self.messages.pop_front();
        self.taken = self.taken.saturating_add(1);
    }

    /// The number of the last message.
    fn last(&self) -> u64 {
        self.taken.saturating_add(u64::try_from(self.messages.len()).unwrap_or(u64::MAX))
    }
}

/// How far sending has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Number of the last message sent.
    pub(super) sent: u64,
    /// Times it was given up for now.
    pub(super) failures: u64,
}

impl Inner {
    /// The number of the last message that it takes.
    pub(super) fn queue(&self, from: &str, invalidation: &Invalidation) -> Result<u64, LevelError> {
        let keys = invalidation.keys.chunks(NAMES).map(|keys| Invalidation { keys: keys.to_vec(), tags: Vec::new() });
        let tags = invalidation.tags.chunks(NAMES).map(|tags| Invalidation { keys: Vec::new(), tags: tags.to_vec() });
        let mut last = 0;
        for gone in keys.chain(tags) {
            let message = Message { from: from.to_owned(), gone };
            let message = serde_json::to_vec(&message).map_err(LevelError::backend)?;
            let mut pending = self.pending.lock();
            if pending.messages.len() >= MAX_PENDING {
                pending.take_off();
                tracing::warn!("an invalidation was given up: the channel has been lost for too long");
            }
            pending.messages.push_back(message.into());
            last = pending.last();
        }
        Ok(last)
    }

    /// Sends what is waiting, unless that is being done. In a task of its own: a caller that leaves must not cut a message
    /// off, and connecting may take longer.
    pub(super) fn send(self: &Arc<Self>) {
        if let Ok(mut sender) = Arc::clone(&self.sender).try_lock_owned() {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    if let Err(error) = inner.send_pending(&mut sender).await {
                        tracing::debug!(error = &error as &dyn std::error::Error, "an invalidation is not sent yet");
                        inner.progress.send_modify(|progress| progress.failures = progress.failures.wrapping_add(1));
                        return;
                    }
                    drop(sender);
                    // Who queued a message when there was no other, and this task had not let go yet, left it to this task.
                    if inner.pending.lock().messages.is_empty() {
                        return;
                    }
                    let Ok(again) = Arc::clone(&inner.sender).try_lock_owned() else { return };
                    sender = again;
                }
            });
        }
    }

    /// In order; what could not be sent goes on waiting.
    async fn send_pending(&self, sender: &mut Option<ConnectionManager>) -> redis::RedisResult<()> {
        loop {
            let (message, number) = {
                let pending = self.pending.lock();
                let Some(message) = pending.messages.front() else { return Ok(()) };
                (message.clone(), pending.taken.saturating_add(1))
            };
            let sent = async {
                let connection = match &mut *sender {
                    Some(connection) => connection,
                    none => none.insert(manager(self.client(), self.connect_timeout).await?),
                };
                cmd("PUBLISH").arg(&self.channel).arg(&message[..]).query_async::<i64>(connection).await
            };
            // The driver bounds the reply at half a second and the connection as configured.
            if let Err(error) = sent.await {
                *sender = None;
                self.next_node();
                return Err(error);
            }
            let mut pending = self.pending.lock();
            // Only if it is still first: it may have been given up for newer ones meanwhile.
            if pending.taken < number {
                pending.take_off();
            }
            drop(pending);
            self.progress.send_modify(|progress| progress.sent = number);
        }
    }
}
