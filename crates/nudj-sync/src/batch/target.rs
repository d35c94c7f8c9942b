use async_trait::async_trait;

use crate::RemoteError;

/// Whether a record is at Nudj.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is, under this id.
    Found(String),
    /// It is not.
    Missing,
    /// The record has nothing by which it could be told.
    Impossible,
}

/// What a batch does with its records. [`Users`](super::Users) creates users.
#[async_trait]
pub trait Target: Send + Sync {
    /// What is created.
    type Record: Send + Sync;

    /// Creates one and gives its id.
    ///
    /// # Errors
    /// [`RemoteError`]; its kind says what comes next.
    async fn create(&self, record: &Self::Record) -> Result<String, RemoteError>;

    /// Looks for it by what identifies it.
    ///
    /// # Errors
    /// [`RemoteError`]
    async fn find(&self, record: &Self::Record) -> Result<Lookup, RemoteError>;

    /// Creates many in one call: one result per record, in their order. `None`, the default, when there is no such call; then
    /// [`Target::create`] is called for each.
    ///
    /// # Errors
    /// [`RemoteError`] for the call as a whole.
    async fn create_many(
        &self,
        _records: &[&Self::Record],
    ) -> Result<Option<Vec<Result<String, RemoteError>>>, RemoteError> {
        Ok(None)
    }

    /// Whether [`Target::create_many`] should be asked at all. Default no.
    fn in_bulk(&self) -> bool {
        false
    }
}
