//! Subjects, bodies and errors as the server has them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::event::Event;
use crate::{BoxError, Error};

/// Header of a replayed copy: the number of its entry among the dead letters.
pub(super) const REPLAY_OF: &str = "Nudj-Replay-Of";

/// Header of an entry among the dead letters: its event's id, as [`event_id`] has it. Entries of earlier versions have none.
pub(super) const EVENT_ID: &str = "Nudj-Event-Id";

/// An entry among the dead letters.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) event: Event,
    #[serde(default)]
    pub(super) attempts: u32,
    /// `None`: it waits behind a dead letter of its key.
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// An event without its payload.
#[derive(Deserialize)]
struct Head {
    id: String,
    topic: String,
    key: String,
    occurred_at: i64,
}

impl Head {
    /// With the whole text in the place of the payload.
    fn with_text(self, body: &[u8]) -> Event {
        let Self { id, topic, key, occurred_at } = self;
        Event { id, topic, key, payload: Value::String(String::from_utf8_lossy(body).into_owned()), occurred_at }
    }
}

#[derive(Deserialize)]
struct EntryHead {
    event: Head,
    #[serde(default)]
    attempts: u32,
    #[serde(default)]
    reason: Option<String>,
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Which partition a key belongs to. Part of what is stored: it must never change.
pub(super) fn partition(key: &str, partitions: u16) -> u16 {
    let hash = digest(key);
    u16::from_be_bytes([hash[0], hash[1]]) % partitions.max(1)
}

pub(super) fn subject(name: &str, partition: u16) -> String {
    format!("{name}.{partition}")
}

/// A key's subject among the dead letters.
pub(super) fn dead_subject(name: &str, key: &str) -> String {
    let hash: String = digest(key)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}_dead.{hash}")
}

/// An id as a header has it; one that a header cannot carry is sent as its digest.
pub(super) fn event_id(id: &str) -> String {
    if id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return id.to_owned();
    }
    digest(id).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn encode(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::Local(error.into()))
}

/// What a message says.
pub(super) enum Read {
    Event(Event),
    /// It is an event, and its payload, nested too deep say, cannot be read.
    Unreadable(Event, serde_json::Error),
    /// It is none.
    Foreign(serde_json::Error),
}

pub(super) fn decode_event(body: &[u8]) -> Read {
    let error = match serde_json::from_slice(body) {
        Ok(event) => return Read::Event(event),
        Err(error) => error,
    };
    match serde_json::from_slice::<Head>(body) {
        Ok(head) => Read::Unreadable(head.with_text(body), error),
        Err(_) => Read::Foreign(error),
    }
}

/// An entry whose payload cannot be read is shown with its text.
pub(super) fn decode_entry(body: &[u8]) -> Result<Entry, Error> {
    serde_json::from_slice(body).or_else(|error| {
        let head: EntryHead =
            serde_json::from_slice(body).map_err(|_| Error::corrupt("stream of dead letters", error.to_string()))?;
        Ok(Entry { event: head.event.with_text(body), attempts: head.attempts, reason: head.reason })
    })
}

pub(super) fn failed(source: impl Into<BoxError>) -> Error {
    Error::store("event bus", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As [`Event::check`] would not have it.
    fn deep() -> Vec<u8> {
        let payload = format!("{}{}", "[".repeat(127), "]".repeat(127));
        format!(r#"{{"id": "1", "topic": "a", "key": "k", "payload": {payload}, "occurred_at": 7}}"#).into_bytes()
    }

    #[test]
    fn event_whose_payload_cannot_be_read_is_known_from_what_is_none() {
        let Read::Unreadable(event, _) = decode_event(&deep()) else { panic!("not told apart") };
        assert_eq!((event.id.as_str(), event.key.as_str(), event.occurred_at), ("1", "k", 7));
        assert!(event.payload.as_str().unwrap().contains("[[["));
        assert!(matches!(decode_event(b"no event"), Read::Foreign(_)));
        let entry = [br#"{"attempts": 3, "event": "#, deep().as_slice(), b"}"].concat();
        let entry = decode_entry(&entry).unwrap();
        assert_eq!((entry.event.id.as_str(), entry.attempts, entry.reason), ("1", 3, None));
    }

    #[test]
    fn partition_of_a_key_is_what_it_was() {
        assert_eq!(["u-1", "u-2", "u-3"].map(|key| partition(key, 16)), [10, 2, 0]);
        assert_eq!(partition("u-1", 1), 0);
    }
}
