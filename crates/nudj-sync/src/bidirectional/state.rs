use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Conflict, Fields};
use crate::Error;

/// What a record was on both sides after the last sync, or after the part of it that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// On your side.
    pub local: Fields,
    /// At Nudj.
    pub remote: Fields,
    /// Your side's own id, where it is not the key.
    pub local_id: Option<String>,
    /// Nudj's id.
    pub remote_id: Option<String>,
    /// A tombstone: it was deleted, and is deleted wherever it shows up again.
    pub deleted: bool,
}

/// Where links and conflicts stand.
#[async_trait]
pub trait State: Send + Sync {
    /// The link of this record.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]
    async fn link(&self, key: &str) -> Result<Option<Link>, Error>;

    /// Writes the link, and the conflict that was met on the way, as one.
    ///
    /// # Errors
    /// [`Error::Store`]
    async fn save(&self, key: &str, link: &Link, conflict: Option<&Conflict>) -> Result<(), Error>;

    /// Forgets link or tombstone: the next sync meets the record for the first time.
    ///
    /// # Errors
    /// [`Error::Store`]
    async fn forget(&self, key: &str) -> Result<(), Error>;

    /// The next keys after this one (all of them after `""`), tombstones included, in their order.
    ///
    /// # Errors
    /// [`Error::Store`]
    async fn keys(&self, after: &str, limit: u32) -> Result<Vec<String>, Error>;

    /// The last conflicts, the latest first. Only the last [`CONFLICTS_KEPT`] are kept.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]
    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>, Error>;
}

/// How many conflicts are kept.
pub const CONFLICTS_KEPT: u32 = 10_000;
