//! What travels on a bus, and how the handling of it can end.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{Permanent, handler::is_word};
use crate::{Error, SystemClock, wall_clock};

/// Longer ids are replaced by their digest where they are made, and refused where they come from outside.
const LONGEST_ID: usize = 256;
const LONGEST_KEY: usize = 256;
/// JSON is read back up to 128 deep, and buses and stores put an event into some levels of their own.
const DEEPEST_PAYLOAD: u32 = 100;

/// Something that happened.
///
/// Events of one [`key`](Event::key) are handled one after the other, in the order in which they were published. Two events with one
/// [`id`](Event::id) are one event: publishing the second has no effect while the bus remembers the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The event's identity; handlers make their effects idempotent by it. At most 256 bytes.
    pub id: String,
    /// What kind of thing happened, such as `user.registered`: letters, digits, `.`, `-` and `_`, at most 128.
    pub topic: String,
    /// Whom it happened to, such as the user's id; 1 to 256 bytes.
    pub key: String,
    /// The rest; arrays and objects in each other at most 100 deep.
    pub payload: serde_json::Value,
    /// When it happened, in milliseconds since 1970.
    pub occurred_at: i64,
}

impl Event {
    /// An event that happens now, with a new id (UUIDv7).
    ///
    /// # Errors
    /// [`Error::Config`] for a topic, a key or a payload that is not allowed, [`Error::Local`] for a payload that is not JSON.
    pub fn new(topic: impl Into<String>, key: impl Into<String>, payload: impl Serialize) -> Result<Self, Error> {
        let occurred_at = wall_clock::millis(&SystemClock);
        // `now_v7`, which keeps the order of what comes in one millisecond, panics while the clock is before 1970.
        let id = match occurred_at {
            0 => uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 0, 0)),
            _ => uuid::Uuid::now_v7(),
        };
        let event = Self {
            id: id.to_string(),
            topic: topic.into(),
            key: key.into(),
            payload: serde_json::to_value(payload).map_err(|error| Error::Local(error.into()))?,
            occurred_at,
        };
        event.check().map(|()| event)
    }

    /// The same with an id of yours, such as `registered-42`: then publishing it again has no effect.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// What follows from this event: same key, and an id made of this event's id and the topic. So a handler that is called twice
    /// makes the same event twice, which is one event. Where several of one topic follow, make them by
    /// [`follow_up_as`](Event::follow_up_as): two events with one id and other content are a handler's error, and a dead letter.
    ///
    /// # Errors
    /// As [`new`](Event::new).
    pub fn follow_up(&self, topic: impl Into<String>, payload: impl Serialize) -> Result<Self, Error> {
        let event = Self::new(topic, self.key.clone(), payload)?;
        let id = format!("{}>{}", self.id, event.topic);
        Ok(event.with_id(within_bounds(id)))
    }

    /// The same where several events of one topic follow from this one: `part` says which of them it is, such as the address of a mail, and
    /// goes into the id. The same at every call, or a repeat makes another event.
    ///
    /// ```
    /// # use nudj_sync::event::Event;
    /// let order = Event::new("order.placed", "o-1", ())?;
    /// let mails = ["a@example.org", "b@example.org"].map(|to| order.follow_up_as("mail.requested", to, to));
    /// # let [first, second] = mails;
    /// assert_ne!(first?.id, second?.id);
    /// # Ok::<(), nudj_sync::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Event::new).
    pub fn follow_up_as(
        &self,
        topic: impl Into<String>,
        part: impl fmt::Display,
        payload: impl Serialize,
    ) -> Result<Self, Error> {
        let event = Self::new(topic, self.key.clone(), payload)?;
        // Doubled, so that no part looks like a chain of follow-ups; no topic has a slash.
        let part = part.to_string().replace('>', ">>");
        let id = format!("{}>{}/{part}", self.id, event.topic);
        Ok(event.with_id(within_bounds(id)))
    }

    /// Whether it tells the same as another of this id; each may have been made at its own time.
    pub(super) fn tells_the_same(&self, other: &Self) -> bool {
        (&self.topic, &self.key, &self.payload) == (&other.topic, &other.key, &other.payload)
    }

    /// Reads the payload. What is not of that shape now never will be: the error is [`Permanent`].
    ///
    /// # Errors
    /// [`Permanent`], with the parser's message.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Permanent> {
        T::deserialize(&self.payload).map_err(Permanent::new)
    }

    /// Whether a bus can carry it.
    ///
    /// # Errors
    /// [`Error::Config`], naming the field.
    pub fn check(&self) -> Result<(), Error> {
        // No field holds a NUL: PostgreSQL's text cannot.
        let is_text = |text: &str, longest: usize| (1..=longest).contains(&text.len()) && !text.contains('\0');
        Error::first_wrong(&[
            (is_text(&self.id, LONGEST_ID), "event.id", "must have 1 to 256 bytes and no NUL"),
            (is_word(&self.topic), "event.topic", "must be 1 to 128 of A-Z a-z 0-9 . - _"),
            (is_text(&self.key, LONGEST_KEY), "event.key", "must have 1 to 256 bytes and no NUL"),
            (is_within(&self.payload, DEEPEST_PAYLOAD), "event.payload", "must be at most 100 arrays and objects deep"),
        ])
    }
}

/// An id that is too long, as its digest; so is one that PostgreSQL could not hold.
fn within_bounds(id: String) -> String {
    if id.len() <= LONGEST_ID && !id.contains('\0') {
        return id;
    }
    Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it is no deeper than so many arrays and objects.
fn is_within(payload: &serde_json::Value, levels: u32) -> bool {
    let below = |value| levels > 0 && is_within(value, levels - 1);
    match payload {
        serde_json::Value::Array(values) => levels > 0 && values.iter().all(below),
        serde_json::Value::Object(fields) => levels > 0 && fields.values().all(below),
        _ => true,
    }
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It will be handled.
    New,
    /// An event of this id was published before.
    Duplicate,
}

/// An event handed out to be handled.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The event.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Which place on the bus it has; the bus's own number.
    pub place: u64,
    /// Proves that the lease is still ours; the bus's own number.
    pub lease: u64,
}

/// How the handling of an event ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// It is handled; these follow from it, and are published in the same step.
    Done(Vec<Event>),
    /// Give it out again after this time; until then the later events of its key wait.
    Retry {
        /// How long to wait.
        after: Duration,
        /// Why.
        reason: String,
    },
    /// It was not handled: give it out again at once. The attempt does not count, where the bus can take it back.
    Release,
    /// No further attempt: a dead letter.
    Dead {
        /// Why.
        reason: String,
    },
}

/// What a dead letter does to the later events of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterDeadLetter {
    /// They wait until it is replayed or discarded: order is never broken, and one poison event stops one key. The default.
    #[default]
    Hold,
    /// They go on. A replayed dead letter then comes after everything of its key that waits by then.
    Pass,
}

/// An event that no attempt could handle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed. May quote the handler's error.
    pub reason: String,
}

/// How far behind a bus's consumers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lag {
    /// Events published and not handled, those in a handler's hands included and dead letters left out.
    pub waiting: u64,
    /// How long ago the oldest of them was published.
    pub oldest_age: Option<Duration>,
    /// Dead letters.
    pub dead_letters: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follow_up_of_the_same_event_has_the_same_id() {
        let event = Event::new("user.registered", "u-1", ()).unwrap();
        let ids = [(), ()].map(|()| event.follow_up("user.sync.requested", ()).unwrap().id);
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], event.follow_up("user.synced", ()).unwrap().id);
    }

    #[test]
    fn parts_of_one_topic_are_kept_apart_and_are_the_same_again() {
        let event = Event::new("order.placed", "o-1", ()).unwrap();
        let id = |part: &str| event.follow_up_as("mail", part, ()).unwrap().id;
        assert_eq!(id("a"), id("a"));
        let chained = |part: &str| event.follow_up_as("mail", part, ()).unwrap().follow_up("b", ()).unwrap().id;
        let follow_up = event.follow_up("mail", ()).unwrap();
        let ids = [id("a"), id("b"), id(""), id("a>b"), chained("a"), chained("a>"), id("a>>b"), follow_up.id];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len(), "{ids:?}");
        let long = event.follow_up_as("mail", "a".repeat(1000), ()).unwrap();
        assert!(long.check().is_ok() && long.id != id(&"a".repeat(1001)));
        assert!(event.follow_up_as("mail", "a\0", ()).unwrap().check().is_ok());
    }

    #[test]
    fn long_chain_of_follow_ups_keeps_ids_short_and_apart() {
        let mut event = Event::new("a.topic", "u-1", ()).unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            event = event.follow_up("a.topic", ()).unwrap();
            event.check().unwrap();
            assert!(seen.insert(event.id.clone()));
        }
    }

    fn nested(levels: usize) -> serde_json::Value {
        serde_json::from_str(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
    }

    #[test]
    fn deepest_payload_is_read_back_and_what_only_can_be_written_is_refused() {
        let event = Event::new("a", "k", nested(100)).unwrap();
        let wrapped = serde_json::to_string(&[[[event.clone()]]]).unwrap();
        assert_eq!(serde_json::from_str::<[[[Event; 1]; 1]; 1]>(&wrapped).unwrap(), [[[event]]]);
        // Valid JSON once, and too deep when wrapped.
        let refused = Event::new("a", "k", serde_json::json!({ "deep": nested(127) }));
        assert!(matches!(refused, Err(Error::Config { field: "event.payload", .. })));
    }

    #[test]
    fn field_that_a_bus_cannot_carry_is_named() {
        let good = Event::new("a", "k", ()).unwrap();
        for (wrong, named) in [
            (good.clone().with_id(""), "event.id"),
            (Event { topic: "a b".into(), ..good.clone() }, "event.topic"),
            (Event { topic: "é".into(), ..good.clone() }, "event.topic"),
            (Event { key: "k\0".into(), ..good.clone() }, "event.key"),
            (Event { key: "k".repeat(257), ..good.clone() }, "event.key"),
            (Event { payload: nested(101), ..good }, "event.payload"),
        ] {
            assert!(matches!(wrong.check(), Err(Error::Config { field, .. }) if field == named), "{wrong:?}");
        }
    }
}
