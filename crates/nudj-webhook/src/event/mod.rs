//! What a delivery says. Nudj documents two families of bodies that contradict each other, and the example of the
//! integration page is a third; all are read, and an event nobody knows is kept as it came.
//!
//! | family | example of a name | recognised by |
//! |---|---|---|
//! | [`Family::Dotted`] | `reward.earned`, `user.updated` | `event` (or Standard Webhooks' `type`) and `data` |
//! | [`Family::Activity`] | `challenge-completion` | `eventSubCategory` and `payload` |
//!
//! ```
//! use nudj_webhook::event::{Event, EventKind, Payload};
//!
//! let event = Event::parse(r#"{"event":"user.updated","data":{"user_id":"u-1"}}"#.into())?;
//! assert_eq!(event.kind(), EventKind::UserUpdated);
//! assert_eq!(event.user_id(), Some("u-1"));
//!
//! let event = Event::parse(r#"{"event":"level.reached","data":{"level":7}}"#.into())?;
//! assert_eq!(event.kind(), EventKind::Unknown);
//! let Payload::Unknown(data) = event.payload()? else { unreachable!() };
//! assert_eq!(data["level"], 7);
//! # Ok::<(), nudj_webhook::Error>(())
//! ```
//!
//! Of each object only what identifies it is needed; every other field may be missing, null or new.

mod kind;
mod payload;
mod timestamp;

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

pub use kind::EventKind;
pub use payload::{
    AchievementRef, ActionParticipation, Activity, ChallengeRef, Engagement, Payload, RewardRef, UserRef, UserUpdated,
};

/// Which of the two documented forms a body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// `{"event": …, "timestamp": …, "data": {…}}`, or with Standard Webhooks' `type` for `event`.
    Dotted,
    /// `{"id": …, "eventCategory": …, "eventSubCategory": …, "payload": {…}, "createdAt": …}`.
    Activity,
}

/// One event. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Event(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    family: Family,
    document: Value,
    raw: Bytes,
}

impl Event {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::NotAnEvent`] when it is not JSON (nested at most 128 deep), not an object, or names no event.
    pub fn parse(raw: Bytes) -> Result<Self, Error> {
        let document: Value = serde_json::from_slice(&raw)
            .map_err(|source| Error::NotAnEvent { problem: "it is not JSON", source: Some(source) })?;
        let not = |problem| Error::NotAnEvent { problem, source: None };
        let object = document.as_object().ok_or_else(|| not("it is not a JSON object"))?;
        let names = [("event", Family::Dotted), ("type", Family::Dotted), ("eventSubCategory", Family::Activity)];
        let (name, family) = names
            .into_iter()
            .find_map(|(field, family)| Some((object.get(field)?.as_str()?, family)))
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| not("neither `event`, `type` nor `eventSubCategory` names one"))?;
        Ok(Self(Arc::new(Parts { name: name.to_owned(), family, document, raw })))
    }

    /// The event's name, as it came: `reward.earned`, `challenge-completion`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name as one of those we know.
    pub fn kind(&self) -> EventKind {
        EventKind::of(&self.0.name)
    }

    /// The form of the body.
    pub fn family(&self) -> Family {
        self.0.family
    }

    /// The body's own `id`, which stands for the delivery where no header does.
    pub fn id(&self) -> Option<&str> {
        self.text("id")
    }

    /// When it happened, as it was written (`timestamp` or `createdAt`).
    pub fn occurred_at(&self) -> Option<&str> {
        self.text(self.time_field())
    }

    /// When it happened, in seconds since 1970: RFC 3339 text, or a number of seconds or milliseconds.
    pub fn occurred_at_unix(&self) -> Option<i64> {
        timestamp::unix_seconds(self.0.document.get(self.time_field())?)
    }

    /// The user it is about, wherever this form has the id.
    pub fn user_id(&self) -> Option<&str> {
        let at = |pointer| self.0.document.pointer(pointer).and_then(Value::as_str);
        match self.0.family {
            Family::Dotted => at("/data/user_id").or_else(|| at("/data/userId")).or_else(|| at("/data/user/id")),
            Family::Activity => at("/userId"),
        }
    }

    /// The data: `data`, or `payload` in the activity form; null when there is none.
    pub fn data(&self) -> &Value {
        let field = match self.0.family {
            Family::Dotted => "data",
            Family::Activity => "payload",
        };
        self.0.document.get(field).unwrap_or(&Value::Null)
    }

    /// The whole body as JSON.
    pub fn document(&self) -> &Value {
        &self.0.document
    }

    /// The body's bytes as they came.
    pub fn raw(&self) -> &Bytes {
        &self.0.raw
    }

    /// The data in its documented shape; [`Payload::Unknown`] for an event we have no shape for.
    ///
    /// # Errors
    /// [`Error::EventData`] when a known event's data contradicts the shape.
    pub fn payload(&self) -> Result<Payload, Error> {
        match self.kind() {
            EventKind::UserUpdated => self.decode(self.data()).map(Payload::UserUpdated),
            EventKind::Unknown => Ok(Payload::Unknown(self.data().clone())),
            _ => match self.0.family {
                Family::Dotted => self.decode(self.data()).map(Payload::Engagement),
                Family::Activity => self.decode(&self.0.document).map(Payload::Activity),
            },
        }
    }

    /// The data as a type of yours.
    ///
    /// # Errors
    /// [`Error::EventData`] when it does not fit.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.decode(self.data())
    }

    fn decode<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Error> {
        T::deserialize(value).map_err(|source| Error::EventData { event: self.0.name.clone(), source })
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.0.document.get(field)?.as_str()
    }

    fn time_field(&self) -> &'static str {
        match self.0.family {
            Family::Dotted => "timestamp",
            Family::Activity => "createdAt",
        }
    }
}

#[cfg(test)]
mod tests;
