//! The seam for a store of seen ids that several receivers share.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::Error;

/// What a guard says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reservation {
    /// New; it is now reserved for us.
    Fresh,
    /// It was confirmed before, by us or somebody else.
    Seen,
    /// Somebody else has reserved it and neither confirmed nor released it: ask again later.
    Reserved,
}

/// Knows the ids that any of several receivers has seen.
///
/// Two steps, because one cannot be right: an id that is noted before the delivery is in the queue is lost when the
/// receiver dies in between (the repeat would count as seen), and one that is noted after it may be taken twice. A
/// reservation that is neither confirmed nor released runs out by itself.
#[async_trait]
pub trait ReplayGuard: fmt::Debug + Send + Sync + 'static {
    /// Reserves `id`. The token is unique to this arrival.
    ///
    /// # Errors
    /// [`Error::Store`]; the id may or may not be reserved then.
    async fn reserve(&self, id: &str, token: &str) -> Result<Reservation, Error>;

    /// Makes the reservation lasting, for `retention`.
    ///
    /// # Errors
    /// [`Error::Store`]; the reservation then runs out.
    async fn confirm(&self, id: &str, token: &str, retention: Duration) -> Result<(), Error>;

    /// Takes the reservation back.
    ///
    /// # Errors
    /// [`Error::Store`]; the reservation then runs out.
    async fn release(&self, id: &str, token: &str) -> Result<(), Error>;
}
