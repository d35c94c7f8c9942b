//! Taking messages off the partitions.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{AckKind, Message};
use futures_util::{StreamExt as _, future::join_all};
use tokio::time::{Instant, timeout, timeout_at};

use super::bus::Shared;
use super::incoming::MOMENT;
use super::wire::{REPLAY_OF, Read, dead_subject, decode_entry, decode_event, failed};
use crate::Error;
use crate::event::{AfterDeadLetter, Claimed, schedule::replayed};
use crate::until::later;

/// How long a request for a message stays with the server. It ends by itself when nobody claims any more.
const REQUEST: Duration = Duration::from_secs(2);

/// A message in this process's hands.
#[derive(Clone, Debug)]
pub(super) struct Out {
    partition: usize,
    lease: u64,
    until: Instant,
    /// The entry among the dead letters of which it is a copy.
    pub(super) replay_of: Option<u64>,
    pub(super) message: Message,
}

impl Shared {
    /// Hands out what has come, and keeps requests at the server for the partitions that have nothing out here.
    ///
    /// The requests wait there: a partition whose event is out elsewhere, or waits for its retry, answers when it comes free.
    pub(super) async fn claim(self: &Arc<Self>, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        if self.client.connection_state() != State::Connected {
            return Err(failed("the connection is lost, and will be made again"));
        }
        let spare = self.config.ack_wait.saturating_sub(lease) / 2;
        // A little before the server gives them out again, lest two have one.
        self.incoming.lock().forget_lost(Instant::now(), self.config.ack_wait - spare);
        self.request(limit);
        self.keep(spare).await;
        let claimed = self.collect_soon(limit, lease).await?;
        // What was asked for is empty, and what is not may be anywhere.
        if claimed.is_empty() && self.request(usize::MAX) {
            return self.collect_soon(limit, lease).await;
        }
        Ok(claimed)
    }

    /// Whether there was something to ask for.
    fn request(self: &Arc<Self>, limit: usize) -> bool {
        let now = Instant::now();
        let mut out = self.out.lock();
        out.retain(|_, out| out.until > now);
        let mut incoming = self.incoming.lock();
        let is_out = |partition| out.values().any(|out| out.partition == partition);
        let asked = incoming.ask(limit, self.consumers.len(), now, is_out);
        for partition in &asked {
            let (shared, partition) = (Arc::clone(self), *partition);
            tokio::spawn(async move { shared.fetch(partition).await });
        }
        !asked.is_empty()
    }

    async fn fetch(&self, partition: usize) {
        let next = async {
            let consumer = self.consumers.get(partition)?;
            let mut batch = consumer.batch().max_messages(1).expires(REQUEST).messages().await.ok()?;
            batch.next().await?.ok()
        };
        // Longer than the server keeps it: a server that was restarted knows nothing of it.
        let next = timeout(REQUEST + REQUEST / 2, next).await.ok().flatten();
        let came = next.is_some();
        self.incoming.lock().answered(partition, next, Instant::now());
        if came {
            self.arrival.notify_one();
        }
    }

    /// Tells the server that what has waited here for a worker for longer than this is in hand still, before it gives it out again; that
    /// counts no attempt. While all workers are busy nobody claims, but for no longer than a lease, for which there is time left. Where
    /// nobody claims any more, the server gives it to others.
    async fn keep(&self, longer_than: Duration) {
        let since = Instant::now();
        let waiting = self.incoming.lock().older_than(longer_than, since);
        let kept = waiting.into_iter().map(|(number, message)| async move {
            if message.double_ack_with(AckKind::Progress).await.is_ok() {
                self.incoming.lock().kept(number, since);
            }
        });
        join_all(kept).await;
    }

    /// Waits for a moment for what was asked for.
    async fn collect_soon(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        let end = later(Instant::now(), MOMENT);
        loop {
            let claimed = self.collect(limit, lease).await?;
            if !claimed.is_empty() || timeout_at(end, self.arrival.notified()).await.is_err() {
                return Ok(claimed);
            }
        }
    }

    async fn collect(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error> {
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            // Ours must end before the server's, which began when the message was sent.
            let until = later(Instant::now(), lease);
            let taken = self.incoming.lock().take(until, self.config.ack_wait);
            let Some((partition, message)) = taken else { break };
            match self.look_at(partition, until, message).await {
                Ok(Some(found)) => claimed.push(found),
                Ok(None) => {}
                // What is claimed is handled all the same; the other comes again.
                Err(error) if claimed.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(claimed)
    }

    /// `None`: it was put elsewhere, and the partition may have another.
    async fn look_at(&self, partition: usize, until: Instant, message: Message) -> Result<Option<Claimed>, Error> {
        let info = message.info().map_err(failed)?;
        let (place, delivered) = (info.stream_sequence, info.delivered);
        let event = match decode_event(&message.payload) {
            Read::Event(event) => event,
            Read::Unreadable(event, error) => {
                // Acknowledged to whoever published it, so it is kept where it can be looked at.
                let reason = format!("the payload cannot be read, and its place has the message's text: {error}");
                tracing::error!(place, event_id = %event.id, reason, "event given up");
                self.bury(&event, place, u32::try_from(delivered).unwrap_or(u32::MAX), Some(reason)).await?;
                message.double_ack().await.map_err(failed)?;
                return Ok(None);
            }
            Read::Foreign(error) => {
                // Not of our making, and never readable.
                tracing::error!(place, %error, "a message that is no event was taken off the bus");
                message.double_ack_with(AckKind::Term).await.map_err(failed)?;
                return Ok(None);
            }
        };
        let header = message.headers.as_ref().and_then(|headers| headers.get(REPLAY_OF));
        let replay_of = header.and_then(|entry| entry.as_str().parse().ok());
        let mut earlier = 0;
        let goes_elsewhere = match (replay_of, self.config.after_dead_letter) {
            (Some(entry), _) => match self.first_entry(&event.key, entry).await? {
                Some((first, body)) if first == entry => {
                    earlier = replayed(decode_entry(&body)?.attempts);
                    false
                }
                // A second copy, or one of a letter that was discarded since.
                _ => true,
            },
            (None, AfterDeadLetter::Hold) => match self.first_entry(&event.key, 1).await? {
                None => false,
                Some((_, body)) => {
                    let first = decode_entry(&body)?;
                    // Of itself it is already known that it is dead, only not to the server that gives it out.
                    if first.event.id != event.id || first.reason.is_none() {
                        self.bury(&event, place, 0, None).await?;
                        self.release_if_first(&event).await?;
                    }
                    true
                }
            },
            (None, AfterDeadLetter::Pass) => false,
        };
        if goes_elsewhere {
            message.double_ack().await.map_err(failed)?;
            return Ok(None);
        }
        let lease = self.next_lease.fetch_add(1, Relaxed);
        self.out.lock().insert(place, Out { partition, lease, until, replay_of, message });
        let attempt = u32::try_from(delivered).unwrap_or(u32::MAX).max(1).saturating_add(earlier);
        Ok(Some(Claimed { event, attempt, place, lease }))
    }

    /// The message, while its lease lasts.
    pub(super) fn ours(&self, claimed: &Claimed) -> Option<Out> {
        let out = self.out.lock();
        let out = out.get(&claimed.place)?;
        (out.lease == claimed.lease && out.until > Instant::now()).then(|| out.clone())
    }

    /// The first entry of a key among the dead letters whose number is at least this, with its number.
    pub(super) async fn first_entry(&self, key: &str, from: u64) -> Result<Option<(u64, bytes::Bytes)>, Error> {
        use async_nats::jetstream::stream::RawMessageErrorKind;

        let subject = dead_subject(&self.config.name, key);
        match self.dead.get_first_raw_message_by_subject(subject, from).await {
            Ok(found) => Ok(Some((found.sequence, found.payload))),
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}
