//! [`Handler`], and which of them an event is for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::Event;
use crate::{BoxError, Error};

/// An event in a handler's hands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// Which attempt this is, from 1. Above 1 an earlier attempt, one that a shutdown cut off among them, may have had its effect: look
    /// before something is created again.
    pub attempt: u32,
}

/// What follows from an event; published in the same step that settles it, so a follow-up is neither lost nor made twice, and needs no
/// room on a bounded bus. `()`, one [`Event`] and a `Vec` of them convert into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FollowUps(pub Vec<Event>);

impl From<()> for FollowUps {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Event> for FollowUps {
    fn from(event: Event) -> Self {
        Self(vec![event])
    }
}

impl From<Vec<Event>> for FollowUps {
    fn from(events: Vec<Event>) -> Self {
        Self(events)
    }
}

/// A handler's answer.
pub type Handling = Pin<Box<dyn Future<Output = Result<FollowUps, BoxError>> + Send>>;

/// Handles events. Implemented by every `Fn(Delivery) -> impl Future<Output = Result<impl Into<FollowUps>, E>>`.
///
/// An error, a panic or a time-out is a failed attempt, which is repeated after its backoff; [`Permanent`] is not repeated. The future
/// is dropped when its time is up or the shutdown's deadline passes.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event.
    fn handle(&self, delivery: Delivery) -> Handling;
}

impl<F, Fut, T, E> Handler for F
where
    F: Fn(Delivery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<FollowUps>,
    E: Into<BoxError>,
{
    fn handle(&self, delivery: Delivery) -> Handling {
        let work = self(delivery);
        Box::pin(async move { work.await.map(Into::into).map_err(Into::into) })
    }
}

/// An error that no repetition would cure: the event becomes a dead letter at once.
#[derive(Debug)]
pub struct Permanent(BoxError);

impl Permanent {
    /// Marks `source` as incurable.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for Permanent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Permanent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The handlers in the order they were given.
#[derive(Clone, Default)]
pub(super) struct Handlers {
    all: Vec<Subscription>,
    /// A name was given before any handler.
    is_name_left_over: bool,
}

#[derive(Clone)]
pub(super) struct Subscription {
    /// `None`: any topic.
    topic: Option<String>,
    /// What it was named, or else which one of its topic it is: so a handler that is added for another topic changes no other's.
    label: Label,
    /// Under which name the store of processed ids knows it.
    pub(super) note: String,
    pub(super) handler: Arc<dyn Handler>,
}

#[derive(Clone)]
enum Label {
    Number(usize),
    Name(String),
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic.as_deref().unwrap_or("*");
        match &self.label {
            Label::Number(number) => write!(f, "{topic}#{number}"),
            Label::Name(name) => write!(f, "{topic}#{name}"),
        }
    }
}

impl Handlers {
    pub(super) fn add(&mut self, topic: Option<String>, handler: Arc<dyn Handler>) {
        let label = Label::Number(self.all.iter().filter(|other| other.topic == topic).count());
        self.all.push(Subscription { topic, label, note: String::new(), handler });
    }

    /// Names the handler that was added last.
    pub(super) fn name_last(&mut self, name: String) {
        match self.all.last_mut() {
            Some(last) => last.label = Label::Name(name),
            None => self.is_name_left_over = true,
        }
    }

    /// Says under which name the store of processed ids is to know each of them; `consumer` keeps them apart from another consumer's.
    pub(super) fn note_as(&mut self, consumer: &str) {
        for subscription in &mut self.all {
            subscription.note =
                if consumer.is_empty() { subscription.to_string() } else { format!("{consumer}/{subscription}") };
        }
    }

    pub(super) fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.all.iter().filter(move |subscription| subscription.topic.as_deref().is_none_or(|wanted| wanted == topic))
    }

    /// # Errors
    /// [`Error::Config`] when there is none at all, or for a name that is wrong, another's, or one of some only: those without would have other numbers
    /// than before, and the notes of others.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_name = |label: &Label| match label {
            Label::Number(_) => true,
            Label::Name(name) => is_word(name),
        };
        let is_named = |subscription: &Subscription| matches!(subscription.label, Label::Name(_));
        let mut seen = std::collections::HashSet::new();
        Error::first_wrong(&[
            (!self.is_name_left_over, "handlers", "must be added before they are named"),
            (!self.all.is_empty(), "handlers", "must have at least one"),
            (
                self.all.iter().all(|subscription| is_name(&subscription.label)),
                "handlers",
                "must have names of 1 to 128 of A-Z a-z 0-9 . - _",
            ),
            (
                self.all.iter().all(|subscription| seen.insert(subscription.to_string())),
                "handlers",
                "must have other names where they handle one topic",
            ),
            (
                self.all.iter().all(|one| {
                    self.all.iter().all(|other| other.topic != one.topic || is_named(other) == is_named(one))
                }),
                "handlers",
                "must all be named where one of their topic is; those that were there without by their numbers, 0, 1 and so on",
            ),
        ])
    }
}

/// Whether it is 1 to 128 letters, digits, `.`, `-` and `_`.
pub(super) fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(ToString::to_string)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Handler for Idle {
        fn handle(&self, _: Delivery) -> Handling {
            Box::pin(async { Ok(FollowUps::default()) })
        }
    }

    /// Topics with the names that are given to their handlers, if any.
    fn handlers(added: &[(&str, Option<&str>)]) -> Handlers {
        let mut handlers = Handlers::default();
        for (topic, name) in added {
            handlers.add(Some((*topic).to_owned()), Arc::new(Idle));
            if let Some(name) = name {
                handlers.name_last((*name).to_owned());
            }
        }
        handlers
    }

    fn notes(added: &[(&str, Option<&str>)], consumer: &str) -> Vec<String> {
        let mut handlers = handlers(added);
        handlers.check().unwrap();
        handlers.note_as(consumer);
        handlers.all.into_iter().map(|subscription| subscription.note).collect()
    }

    #[test]
    fn named_handlers_keep_their_notes_wherever_they_stand() {
        assert_eq!(notes(&[("a", None), ("b", None), ("a", None)], ""), ["a#0", "b#0", "a#1"]);
        assert_eq!(notes(&[("a", None), ("b", Some("mailer"))], "mails"), ["mails/a#0", "mails/b#mailer"]);
        // One that had a number keeps its notes when it is named by it.
        assert_eq!(notes(&[("a", Some("new")), ("a", Some("1")), ("a", Some("0"))], ""), ["a#new", "a#1", "a#0"]);
    }

    #[test]
    fn name_that_is_wrong_or_taken_is_refused() {
        for wrong in [
            vec![],
            vec![("a", Some("x")), ("a", Some("x"))],
            vec![("a", None), ("a", Some("0"))],
            // Naming one would give the other one's notes to those that have none.
            vec![("a", Some("mailer")), ("a", None)],
            vec![("a", None), ("b", None), ("a", Some("mailer"))],
        ] {
            assert!(handlers(&wrong).check().is_err(), "{wrong:?}");
        }
        for name in ["", "a b", "a/b", "a#b"] {
            assert!(handlers(&[("a", Some(name))]).check().is_err(), "{name:?}");
        }
        let mut too_early = Handlers::default();
        too_early.name_last("x".to_owned());
        too_early.add(None, Arc::new(Idle));
        assert!(too_early.check().is_err());
    }
}
