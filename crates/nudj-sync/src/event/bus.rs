//! [`EventBus`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{Claimed, DeadLetter, Event, Lag, Published, Settlement};
use crate::Error;

/// A queue of events, each handled at least once and those of one key in order.
///
/// What every engine promises:
/// - An event for which [`publish`](EventBus::publish) returned `Ok` is given out until it is settled as done or discarded.
/// - Of one key, one event is out at a time, and it is the first one not done. Waiting for a retry counts as not done, and so does a dead
///   letter under [`AfterDeadLetter::Hold`](super::AfterDeadLetter).
/// - A lease that nobody settles runs out, and its event is given out again.
///
/// Dropping any of these futures leaves the bus whole: the operation happened, or it did not.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// What tells its consumers' notes from those of other buses' consumers in one store of
    /// [`ProcessedIds`](super::ProcessedIds), the same in every process that consumes it. Provided: empty, no name;
    /// [`ConsumerBuilder::name`](super::ConsumerBuilder::name) gives one.
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    /// Whether events can be claimed for so long; asked when a consumer is started. Provided: for any time.
    ///
    /// # Errors
    /// [`Error::Config`], naming the bus's own setting that is in the way.
    fn check_lease(&self, lease: Duration) -> Result<(), Error> {
        let _ = lease;
        Ok(())
    }

    /// Publishes an event. After an error nobody knows whether it was; publish the same event again, which has no second effect.
    ///
    /// # Errors
    /// [`Error::Config`] for an event that [`Event::check`] refuses, [`Error::EventTooLarge`], [`Error::BusFull`], [`Error::Store`].
    async fn publish(&self, event: &Event) -> Result<Published, Error>;

    /// Gives out up to `limit` events for the time of `lease`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, Error>;

    /// Ends a lease; false, and no effect, when it had run out and the event was given out again.
    ///
    /// # Errors
    /// [`Error::Store`]; whether it was settled is then not known, and settling again is right. [`Error::EventTooLarge`] when a follow-up
    /// cannot be carried; then nothing was settled, and [`Settlement::Dead`] is right.
    async fn settle(&self, claimed: &Claimed, settlement: &Settlement) -> Result<bool, Error>;

    /// Returns when there may be something to claim, after `at_most` at the latest. May be early.
    async fn changed(&self, at_most: Duration);

    /// How far behind the consumers are.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn lag(&self) -> Result<Lag, Error>;

    /// Up to `limit` dead letters, oldest first.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`].
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Makes a dead letter an event again, with all its attempts but the first before it, and one at least: it comes as a repeat, since
    /// an attempt of before may have had its effect. False when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn replay(&self, id: &str) -> Result<bool, Error>;

    /// Forgets a dead letter; false when there is none of this id.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn discard(&self, id: &str) -> Result<bool, Error>;

    /// Removes what need not be remembered any longer. A consumer calls it about once a minute.
    ///
    /// # Errors
    /// [`Error::Store`].
    async fn sweep(&self) -> Result<(), Error>;
}
