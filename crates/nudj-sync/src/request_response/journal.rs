use async_trait::async_trait;
use nudj_client::model::NewUser;

use super::Step;
use crate::Error;

/// A record that is not finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Your id of the user, `externalUserId` at Nudj.
    pub id: String,
    /// What is to be created.
    pub user: NewUser,
    /// How far it has come.
    pub step: Step,
}

/// Where unfinished records stand. What a method has answered survives a crash, if the journal is to.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes a new record at [`Step::Begun`]. When there is one with this id already, that one is given back, unchanged.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]
    async fn begin(&self, id: &str, user: &NewUser) -> Result<Option<Entry>, Error>;

    /// The record of this id, if it is not finished.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]
    async fn get(&self, id: &str) -> Result<Option<Entry>, Error>;

    /// Notes the step that a record has reached.
    ///
    /// # Errors
    /// [`Error::Store`], also when there is no such record: whoever works on one that is finished must not go on.
    async fn reached(&self, id: &str, step: &Step) -> Result<(), Error>;

    /// Forgets a record that is done.
    ///
    /// # Errors
    /// [`Error::Store`]
    async fn finished(&self, id: &str) -> Result<(), Error>;

    /// The next records after this id (all of them after `""`), in the order of their ids, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]
    async fn unfinished(&self, after: &str, limit: u32) -> Result<Vec<Entry>, Error>;
}

/// For [`Journal::reached`].
pub(super) fn no_record(what: &'static str, id: &str) -> Error {
    Error::store(what, format!("it has no record {id:?} any more"))
}
