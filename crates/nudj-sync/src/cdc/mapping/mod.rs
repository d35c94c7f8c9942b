//! What a change of a row means at Nudj.

mod challenges;
mod columns;
mod users;

use async_trait::async_trait;

pub use self::challenges::ChallengeMapping;
pub use self::users::UserMapping;
use super::{
    change::{Change, RecordKey},
    ledger::Ledger,
    state::Known,
};
use crate::{Error, Remote, RemoteError};

/// What a record is at Nudj once a change got through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is there, under this id.
    Linked(String),
    /// It is not there any more.
    Gone,
    /// Nothing was to be done.
    Nothing,
}

/// Why a change did not get through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// This row cannot be mapped as it is: it becomes a dead letter at once, with this reason.
    #[error("{0}")]
    Poison(String),
    /// A call failed; its kind says what comes next. [`Unknown`](crate::RemoteErrorKind::Unknown) puts the record in doubt.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The state could not be read; tried again.
    #[error(transparent)]
    State(#[from] Error),
}

/// What a mapping has at hand.
pub struct Attempt<'a> {
    /// Nudj.
    pub remote: &'a dyn Remote,
    /// The change to be made there.
    pub change: &'a Change,
    /// What is known of the record.
    pub known: &'a Known,
    pub(super) ledger: &'a Ledger,
}

impl Attempt<'_> {
    /// Takes a record at Nudj for this one of yours; false when it belongs to another of yours.
    ///
    /// # Errors
    /// [`MappingError::State`]
    pub async fn claim(&self, remote_id: &str) -> Result<bool, MappingError> {
        Ok(self.ledger.claim(&self.change.record, remote_id).await?)
    }

    /// Notes at once that a creation succeeded, so that a later failure in the same attempt does not create another.
    pub fn created(&self, remote_id: &str) {
        self.ledger.learn(&self.change.record, &Applied::Linked(remote_id.to_owned()));
    }

    /// Which record.
    #[must_use]
    pub fn record(&self) -> &RecordKey {
        &self.change.record
    }
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("record", self.record()).field("known", self.known).finish_non_exhaustive()
    }
}

/// Makes a table's changes at Nudj.
///
/// It is called again after a failure, and for changes that were made already when a process died behind them: what it does must
/// come to the same when done twice. It creates nothing while [`Known::in_doubt`] before it has looked.
#[async_trait]
pub trait Mapping: Send + Sync {
    /// Makes one change. May be dropped at any await; then it is in doubt.
    ///
    /// # Errors
    /// [`MappingError`]
    async fn apply(&self, attempt: Attempt<'_>) -> Result<Applied, MappingError>;

    /// By what the record can be found at Nudj where its key is not stored there. It is kept before the record is created, and
    /// comes back in [`Known::hints`]: the row may have changed or be gone by then. One line.
    fn hint(&self, change: &Change) -> Option<String> {
        let _ = change;
        None
    }
}
