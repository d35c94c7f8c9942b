//! [`Handler`], and which of them an event is for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use crate::event::Event;
use crate::{BoxError, Error};

/// A verified delivery, as a handler gets it. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The delivery's id, the same on every repeat and attempt: make effects idempotent by it.
    pub id: Arc<str>,
    /// What it says.
    pub event: Event,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When it came.
    pub received_at: SystemTime,
}

/// Handles deliveries. Implemented by every `Fn(Delivery) -> impl Future<Output = Result<(), E>>`.
///
/// An error, a panic or a time-out is a failed attempt, which is repeated after its backoff; one that failed with
/// [`Permanent`] is not called again, also when others of the same delivery are. The future is dropped when its time is up or the receiver's shutdown deadline passes.
pub trait Handler: Send + Sync + 'static {
    /// Handles one delivery.
    fn handle(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
}

impl<F, Fut, E> Handler for F
where
    F: Fn(Delivery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn handle(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> {
        let work = self(delivery);
        Box::pin(async move { work.await.map_err(Into::into) })
    }
}

/// An error that no repetition would cure: the delivery becomes a dead letter at once, or once its other handlers have
/// succeeded or used up their attempts.
///
/// ```
/// use nudj_webhook::{Delivery, Permanent};
///
/// async fn handle(delivery: Delivery) -> Result<(), Permanent> {
///     delivery.event.payload().map_err(Permanent::new)?;
///     Ok(())
/// }
/// ```
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
pub(crate) struct Handlers(Vec<Subscription>);

#[derive(Clone)]
pub(crate) struct Subscription {
    /// `None`: any event.
    event: Option<String>,
    /// Tells the handlers of one event apart in the inbox: the event and a number, so that adding a handler for
    /// another event does not change it.
    pub(crate) name: String,
    pub(crate) handler: Arc<dyn Handler>,
}

impl Handlers {
    pub(crate) fn add(&mut self, event: Option<String>, handler: Arc<dyn Handler>) {
        let number = self.0.iter().filter(|other| other.event == event).count();
        let name = format!("{}#{number}", event.as_deref().unwrap_or("*"));
        self.0.push(Subscription { event, name, handler });
    }

    pub(crate) fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Subscription> {
        self.0.iter().filter(move |subscription| subscription.event.as_deref().is_none_or(|wanted| wanted == event))
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|subscription| &subscription.name)).finish()
    }
}

impl From<Error> for Permanent {
    fn from(source: Error) -> Self {
        Self::new(source)
    }
}
