//! What can go wrong where a caller must know: configuration and encoding. A level that fails is a miss, not an error.

use std::sync::Arc;

/// Any error from below, in tower's form.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A configured value is out of range; nothing was started.
    #[error("{field}: {message}")]
    Config {
        /// The field, as a dotted path (`memory.max_bytes`).
        field: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// A value could not be turned into bytes, so it was not cached.
    #[error("the value for cache key {key:?} does not serialize; it was not cached")]
    Encode {
        /// The key it was to be stored under.
        key: String,
        /// What the serializer said.
        source: serde_json::Error,
    },
    /// A level could not be set up (address, file, migration).
    #[error("cache level {level} could not be set up: {message}")]
    Setup {
        /// The level's name.
        level: &'static str,
        /// What was being done. Never an address or a credential.
        message: &'static str,
        /// What the driver said.
        source: BoxError,
    },
    /// The origin answered 304 for a version that is not the one cached. The entry was dropped: call again.
    #[error("the origin confirmed a version that is not in the cache; the entry was dropped, call again")]
    ValidatorMismatch,
}

impl CacheError {
    pub(crate) fn config(field: &'static str, message: impl Into<String>) -> Self {
        Self::Config { field, message: message.into() }
    }
}

/// One failure of the origin, given to every call that waited for the same answer.
///
/// `source()` is the origin's own error, so `Rejection::find` and the like see through it. A call that did not share
/// its origin call gets the origin's error as it is.
#[derive(Debug, Clone)]
pub struct SharedError {
    source: Arc<dyn std::error::Error + Send + Sync>,
}

impl std::fmt::Display for SharedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin failed for all calls that waited for this answer")
    }
}

// By hand: derived, `source()` would be the `Arc`, and nobody could see through it.
impl std::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl SharedError {
    pub(crate) fn new(source: BoxError) -> Self {
        Self { source: Arc::from(source) }
    }
}
