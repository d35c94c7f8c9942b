//! One trait for every place a value can be kept.
//!
//! | level | type | where |
//! |---|---|---|
//! | L1 | [`MemoryLevel`](crate::MemoryLevel) | this process, bounded by bytes |
//! | L2 | `RedisLevel` (feature `redis`) | a server or cluster that processes share |
//! | L3 | `SqliteLevel` (feature `sqlite`), `PostgresLevel` (feature `postgres`) | a file, or a database |
//!
//! A level of your own implements [`CacheLevel`] and is given to the builder. It may fail and it may hang: the
//! [`MultiLevelCache`](crate::MultiLevelCache) bounds each operation in time, stops asking a level that keeps failing
//! and makes a miss of every failure.

pub(crate) mod breaker;
mod config;
pub(crate) mod guarded;
pub(crate) mod memory;
pub(crate) mod pending;
pub(crate) mod remembered;
pub(crate) mod sequence;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    config::LevelConfig,
    memory::{MemoryConfig, MemoryLevel},
    sequence::AsOf,
};
use crate::{entry::Entry, error::BoxError};

/// An entry found, and the time its level will still keep it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The value.
    pub entry: Entry,
    /// Time left in this level, by the level's own clock. A level above keeps it no longer.
    pub remaining: Duration,
}

/// How a value is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// How long it may be kept, from now on.
    pub ttl: Duration,
    /// When reading the value from its origin began. A level refuses it, silently, where its key or one of its tags
    /// was deleted since. `None`: the value is new by itself, nothing older can be in it.
    pub as_of: Option<AsOf>,
}

/// Why a level could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// What lies there cannot be read (another layout, cut off).
    #[error("the entry is not readable")]
    Unreadable,
    /// The store failed.
    #[error("the store failed")]
    Backend(#[source] BoxError),
}

impl LevelError {
    /// A failure of the store.
    pub fn backend(error: impl Into<BoxError>) -> Self {
        Self::Backend(error.into())
    }
}

/// What a level holds, as far as it knows without counting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// A place values are kept in.
///
/// Contract: what was deleted is not read afterwards, not even when a write that began before the delete arrives after
/// it with an older [`Write::as_of`]; nothing is returned after its TTL; every method may be dropped at any await.
#[async_trait]
pub trait CacheLevel: Send + Sync + 'static {
    /// A short name for figures and logs (`redis`).
    fn name(&self) -> &'static str;

    /// Looks up a key.
    ///
    /// # Errors
    /// When the store cannot be asked, or what it holds cannot be read. The caller takes either for a miss.
    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError>;

    /// Stores an entry under a key for [`Write::ttl`].
    ///
    /// # Errors
    /// When the store cannot be asked; whether it stored the entry is then unknown.
    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError>;

    /// Removes a key. No error when there is none.
    ///
    /// # Errors
    /// When the store cannot be asked; the caller repeats it later.
    async fn delete(&self, key: &str) -> Result<(), LevelError>;

    /// Removes every entry that has this tag.
    ///
    /// # Errors
    /// When the store cannot be asked; the caller repeats it later.
    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError>;

    /// What it holds. The default knows nothing.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}
