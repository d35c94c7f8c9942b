use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::Error;

/// A record's fields by name. An empty one is as one that is not there.
pub type Fields = BTreeMap<String, String>;

/// Fields from pairs; empty ones are left out.
pub fn fields<'f>(pairs: impl IntoIterator<Item = (&'f str, &'f str)>) -> Fields {
    let filled = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A record as one side has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// What it says.
    pub fields: Fields,
    /// When it was last changed, in milliseconds since 1970, by that side's clock.
    pub updated_at: Option<i64>,
    /// That side's own id, where it is not the key.
    pub id: Option<String>,
}

/// One of the two sides. Keys are yours, `externalUserId` at Nudj.
#[async_trait]
pub trait Side: Send + Sync {
    /// The record; `None` when there is none, or none any more. `id` is what this side called it at the last sync.
    ///
    /// # Errors
    /// [`Error::Local`] for your system.
    async fn read(&self, key: &str, id: Option<&str>) -> Result<Option<Version>, Error>;

    /// Makes the record say this, and gives it back as it is then; `None`, with nothing written, when it is no longer as it
    /// `was` read. A new record of Nudj's side may come back without some of the fields: then it is written again, with all of them.
    /// A write that cannot be done in one step is better done so, for what is there already is then noted.
    ///
    /// # Errors
    /// [`Error::Local`] for your system.
    async fn write(&self, key: &str, fields: &Fields, was: Option<&Version>) -> Result<Option<Version>, Error>;

    /// Deletes the record; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Local`] for your system.
    async fn delete(&self, key: &str, was: &Version) -> Result<(), Error>;
}
