//! Idempotency keys that outlive the process: kept in SQLite, PostgreSQL or Redis under your own name of what a request does.
//!
//! Give a store to [`ClientBuilder::key_store`](crate::ClientBuilder::key_store) and a request its
//! [`business_key`](crate::RequestBuilder::business_key). A request that is made again after a restart then carries the same
//! `Idempotency-Key`, and a points transaction made by
//! [`points_transaction_for`](crate::api::Users::points_transaction_for) the same `externalTransactionReference`. Without a store both
//! are derived from the business key, which gives the same ones everywhere and for ever; a store is for those who want to do the same
//! thing once more after [`KeysConfig::keep`].
//!
//! | store | feature | what it survives |
//! |---|---|---|
//! | `SqliteKeys` | `keys-sqlite` | the process, and a crash of the machine |
//! | `PostgresKeys` | `keys-postgres` | the same; shared by several processes |
//! | `RedisKeys` | `keys-redis` | as much as the server's persistence does; shared. Not one that evicts |
//!
//! Names are kept as SHA-256, since they may be a person's. What has expired is removed as new keys come.
//!
//! # Errors
//! [`KeysError`], below an error of kind [`IdempotencyKey`](crate::ErrorKind::IdempotencyKey): the request is not sent then, since without its key it
//! might be done twice. Connecting and asking are bounded by
//! [`KeysConfig::timeout`].

#[cfg(feature = "keys-postgres")]
mod postgres;
#[cfg(feature = "keys-redis")]
mod redis;
#[cfg(feature = "keys-sqlite")]
mod sqlite;

mod source;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use nudj_tower::{BoxError, idempotency::KeyStore};
use serde::{Deserialize, Serialize};

#[cfg(feature = "keys-postgres")]
pub use self::postgres::PostgresKeys;
#[cfg(feature = "keys-redis")]
pub use self::redis::RedisKeys;
pub(crate) use self::source::Keys;
#[cfg(feature = "keys-sqlite")]
pub use self::sqlite::SqliteKeys;
use crate::Error;

/// The wait for a store. It is boxed because stores stand behind a `dyn`.
pub type KeyFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// A store as the client takes it.
pub type SharedKeys = Arc<dyn KeyStore<Future = KeyFuture> + Send + Sync>;

/// How long keys are kept, and how long a store may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// How long a key is kept from when it was made. Default 7 days; at least 1 s. Later the same name gets a new key.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// The longest a store may take for one key, connecting included. Default 2 s; not 0, at most 1 h.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 24 * 60 * 60), timeout: Duration::from_secs(2) }
    }
}

impl KeysConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// Of kind `config`, naming the field.
    pub fn validate(&self) -> Result<(), Error> {
        // A century fits into every store's integers.
        if self.keep < Duration::from_secs(1) || self.keep > Duration::from_secs(100 * 365 * 24 * 60 * 60) {
            return Err(Error::config("keep", "must be from 1 s to 100 years"));
        }
        // The drivers add it to the time it is, and panic where that cannot be told.
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(60 * 60) {
            return Err(Error::config("timeout", "must be longer than 0, and at most 1 h"));
        }
        Ok(())
    }
}

/// A store has no key to give.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The store failed.
    #[error("the {store} of idempotency keys failed; is it reachable?")]
    Failed {
        /// Which one.
        store: &'static str,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The store took too long.
    #[error("the {store} of idempotency keys did not answer within {after:?}")]
    TooSlow {
        /// Which one.
        store: &'static str,
        /// The longest it may take.
        after: Duration,
    },
}

/// Bounds a store's work. A store's error is kept, with the store's name.
#[cfg(any(feature = "keys-postgres", feature = "keys-redis", feature = "keys-sqlite"))]
fn bounded<E: Into<BoxError>>(
    store: &'static str,
    after: Duration,
    work: impl Future<Output = Result<String, E>> + Send + 'static,
) -> KeyFuture {
    Box::pin(async move {
        match tokio::time::timeout(after, work).await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(error)) => Err(KeysError::Failed { store, source: error.into() }.into()),
            Err(_) => Err(KeysError::TooSlow { store, after }.into()),
        }
    })
}

#[cfg(any(feature = "keys-postgres", feature = "keys-redis", feature = "keys-sqlite"))]
fn digest(name: &str) -> String {
    use sha2::Digest as _;

    hex::encode(sha2::Sha256::digest(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named() {
        KeysConfig::default().validate().unwrap();
        for (config, field) in [
            (KeysConfig { keep: Duration::ZERO, ..KeysConfig::default() }, "keep"),
            (KeysConfig { keep: Duration::MAX, ..KeysConfig::default() }, "keep"),
            (KeysConfig { timeout: Duration::ZERO, ..KeysConfig::default() }, "timeout"),
            (KeysConfig { timeout: Duration::MAX, ..KeysConfig::default() }, "timeout"),
        ] {
            assert!(config.validate().unwrap_err().to_string().starts_with(field));
        }
    }
}
