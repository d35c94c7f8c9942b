//! What is sent to the server: events, copies and dead letters.

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;

use super::bus::Shared;
use super::wire::{EVENT_ID, Entry, REPLAY_OF, dead_subject, encode, event_id, failed, partition, subject};
use crate::Error;
use crate::event::{Event, Published};

/// What an event leaves free of the largest message, so that it can be a dead letter: for its headers, the number of attempts and the
/// beginning of the reason.
const RESERVE: usize = 1024;

impl Shared {
    /// The event as it is sent.
    ///
    /// # Errors
    /// [`Error::EventTooLarge`].
    pub(super) fn body(&self, event: &Event) -> Result<Bytes, Error> {
        let body = encode(event)?;
        let most = self.client.max_payload().saturating_sub(RESERVE);
        if body.len() > most {
            return Err(Error::EventTooLarge { id: event.id.clone(), bytes: body.len(), most });
        }
        Ok(body)
    }

    pub(super) async fn send_event(&self, event: &Event, body: Bytes) -> Result<Published, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, event_id(&event.id));
        let ack = self.send(self.place(event), headers, body).await.map_err(refused)?;
        if ack.duplicate {
            return known(&ack);
        }
        self.room.lock().saw(ack.sequence);
        Ok(Published::New)
    }

    /// On a full bus: a repeat has no effect, and needs no room.
    pub(super) async fn repeat(&self, event: &Event) -> Result<Published, Error> {
        // Servers of a cluster note the id of what they then refuse, and would take the event itself for a repeat of that later.
        if self.config.replicas > 1 {
            return Err(Error::BusFull);
        }
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, event_id(&event.id));
        // The server looks for the id first, and refuses what is none by this, which never holds.
        headers.insert(NATS_EXPECTED_LAST_SEQUENCE, i64::MAX.to_string());
        match self.send(self.place(event), headers, Bytes::new()).await {
            Ok(ack) if ack.duplicate => known(&ack),
            Err(error) if !matches!(error.kind(), PublishErrorKind::WrongLastSequence) => Err(refused(error)),
            Ok(_) | Err(_) => Err(Error::BusFull),
        }
    }

    /// Sends the copy of an entry among the dead letters through the queue; every call has its effect.
    pub(super) async fn send_copy(&self, number: u64, event: &Event) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(REPLAY_OF, number.to_string());
        self.send(self.place(event), headers, encode(event)?).await.map(drop).map_err(refused)
    }

    /// Puts an event among the dead letters; again after a crash, it is there once.
    ///
    /// # Errors
    /// [`Error::EventTooLarge`] for an event that this version would not have published: the server's `max_payload` must be raised, since
    /// the event would be lost otherwise.
    pub(super) async fn bury(
        &self,
        event: &Event,
        place: u64,
        attempts: u32,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{place}", self.config.name));
        headers.insert(EVENT_ID, event_id(&event.id));
        let most = self.client.max_payload().saturating_sub(size(&headers));
        let mut entry = Entry { event: event.clone(), attempts, reason };
        let mut body = encode(&entry)?;
        if let Some(reason) = entry.reason.as_mut().filter(|_| body.len() > most) {
            // Its text takes at least as many bytes in the body.
            let left = reason.len().saturating_sub(body.len() - most);
            reason.truncate(reason.floor_char_boundary(left));
            body = encode(&entry)?;
        }
        if body.len() > most {
            return Err(Error::EventTooLarge { id: event.id.clone(), bytes: body.len(), most });
        }
        self.send(dead_subject(&self.config.name, &event.key), headers, body).await.map(drop).map_err(refused)
    }

    fn place(&self, event: &Event) -> String {
        subject(&self.config.name, partition(&event.key, self.config.partitions))
    }

    /// Publishes and waits for the server's word. A repeat of a message id has no effect.
    async fn send(&self, subject: String, headers: HeaderMap, body: Bytes) -> Result<PublishAck, PublishError> {
        self.context.publish_with_headers(subject, headers, body).await?.await
    }
}

/// A repeat of what is on the stream has its place there. Without one the server has noted an id that never came to be an event.
fn known(ack: &PublishAck) -> Result<Published, Error> {
    if ack.sequence == 0 {
        return Err(failed(
            "the server knows the event's id and has no event of it; publish it again after duplicate_window",
        ));
    }
    Ok(Published::Duplicate)
}

/// What the headers take of a message, or a little more.
fn size(headers: &HeaderMap) -> usize {
    // First line, and the empty one at the end; a colon, a space and the line's end of each.
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + 4)
    });
    16 + lines.sum::<usize>()
}

fn refused(error: PublishError) -> Error {
    let full = matches!(error.kind(), PublishErrorKind::Other)
        && std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("maximum messages"));
    if full { Error::BusFull } else { failed(error) }
}
