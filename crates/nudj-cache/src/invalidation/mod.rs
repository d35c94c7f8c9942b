//! What is no longer true, and telling the other processes.
//!
//! An [`Invalidation`] names keys and tags. [`MultiLevelCache::invalidate`](crate::MultiLevelCache::invalidate) removes
//! them from all levels here and hands the invalidation to the [`InvalidationChannel`], which brings it to the other
//! processes; those remove it from their memory (the shared levels that answer are clean by then).
//!
//! The channel delivers at most once. So a process that lost it keeps new entries for a shorter time
//! (`isolated_ttl`) while it is lost, and empties its memory level when it has it again.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::level::LevelError;

/// Keys and tags whose entries are no longer true.
///
/// ```
/// use nudj_cache::Invalidation;
/// let gone = Invalidation::tag("user:42").and_key("leaderboard");
/// assert_eq!(gone.tags, ["user:42"]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// Single keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Tags. Every key is a tag of itself, and `name:id` also stands for its family
    /// ([`CacheConfig::families`](crate::CacheConfig::families)).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Invalidation {
    /// One key.
    pub fn key(key: impl Into<String>) -> Self {
        Self { keys: vec![key.into()], tags: Vec::new() }
    }

    /// One tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self { keys: Vec::new(), tags: vec![tag.into()] }
    }

    /// Everything known of one user: the tag `user:{id}`, and with it the keys `user:{id}`, `user:profile:{id}`,
    /// `user:challenges:{id}` and `user:rewards:{id}`.
    pub fn user(id: impl std::fmt::Display) -> Self {
        Self::tag(format!("user:{id}"))
    }

    /// And this key.
    #[must_use]
    pub fn and_key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// And this tag.
    #[must_use]
    pub fn and_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tags.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.keys.len().saturating_add(self.tags.len())).unwrap_or(u64::MAX)
    }
}

/// The way to the other processes.
#[async_trait]
pub trait InvalidationChannel: Send + Sync + 'static {
    /// Tells all other processes. Called after the shared levels are clean; of a level that is down, once without it and
    /// again when it is clean too. Must not wait long: the caller of `invalidate` waits for it.
    ///
    /// # Errors
    /// When it could not be sent. The channel keeps it, bounded, and sends it when it can.
    async fn publish(&self, invalidation: &Invalidation) -> Result<(), LevelError>;

    /// The same for one of several caches that may share the channel in one process: all others are told. `sender` names
    /// the cache, differs from every other's and is not to be told of its own. The default tells by
    /// [`publish`](Self::publish), for channels that do not receive, or for one cache only.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    async fn publish_from(&self, sender: &str, invalidation: &Invalidation) -> Result<(), LevelError> {
        let _ = sender;
        self.publish(invalidation).await
    }
}
