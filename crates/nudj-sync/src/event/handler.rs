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
pub(super) struct Handlers(Vec<Subscription>);

#[derive(Clone)]
pub(super) struct Subscription {
    /// `None`: any topic.
    topic: Option<String>,
    /// Tells handlers apart in the store of processed ids: topic and number, so that a handler added for another topic changes none.
    pub(super) name: String,
    pub(super) handler: Arc<dyn Handler>,
}

impl Handlers {
    pub(super) fn add(&mut self, topic: Option<String>, handler: Arc<dyn Handler>) {
        let number = self.0.iter().filter(|other| other.topic == topic).count();
        let name = format!("{}#{number}", topic.as_deref().unwrap_or("*"));
        self.0.push(Subscription { topic, name, handler });
    }

    pub(super) fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.0.iter().filter(move |subscription| subscription.topic.as_deref().is_none_or(|wanted| wanted == topic))
    }

    /// # Errors
    /// [`Error::Config`] when there is none at all.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.0.is_empty() { Err(Error::config("handlers", "must have at least one")) } else { Ok(()) }
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|subscription| &subscription.name)).finish()
    }
}
