use std::{fmt, sync::Arc};

use nudj_tower::idempotency::KeyStore;
use redis::{
    Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::OnceCell;

use super::{KeyFuture, KeysConfig, bounded, digest};
use crate::Error;

/// Keys in Redis, each under `nudj:key:` and the digest of its name. Clones share the connection, which is made anew after it broke.
#[derive(Clone)]
pub struct RedisKeys {
    client: Client,
    link: Arc<OnceCell<ConnectionManager>>,
    config: KeysConfig,
    prefix: Arc<str>,
}

impl RedisKeys {
    /// Keeps keys at `url` (`redis://user:password@host:port/database`).
    ///
    /// # Errors
    /// Of kind `config` when the address cannot be read or `config` is out of range.
    pub fn new(url: &str, config: KeysConfig) -> Result<Self, Error> {
        config.validate()?;
        // The driver's message may hold a part of the address, and that its password.
        let client = Client::open(url).map_err(|_unread| {
            Error::config("keys url", "is not of the form redis://user:password@host:port/database")
        })?;
        Ok(Self { client, link: Arc::default(), config, prefix: "nudj:key:".into() })
    }

    /// Keeps keys under names that begin so, instead of by `nudj:key:`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    async fn keep(self, name: String, new_key: String) -> Result<String, RedisError> {
        let mut link = self
            .link
            .get_or_try_init(|| {
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(self.config.timeout))
                    .set_response_timeout(Some(self.config.timeout))
                    .set_number_of_retries(0);
                ConnectionManager::new_with_config(self.client.clone(), config)
            })
            .await?
            .clone();
        let name = format!("{}{name}", self.prefix);
        let keep = u64::try_from(self.config.keep.as_millis()).unwrap_or(u64::MAX);
        // As one: of two that ask at once, both get what the first has set.
        let mut set = redis::cmd("SET");
        set.arg(&name).arg(new_key).arg("NX").arg("PX").arg(keep);
        let (key,): (String,) =
            redis::pipe().atomic().add_command(set).ignore().get(&name).query_async(&mut link).await?;
        Ok(key)
    }
}

impl KeyStore for RedisKeys {
    type Future = KeyFuture;

    fn get_or_insert(&self, name: String, new_key: String) -> KeyFuture {
        bounded("Redis server", self.config.timeout, self.clone().keep(digest(&name), new_key))
    }
}

impl fmt::Debug for RedisKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it holds the password.
        f.debug_struct("RedisKeys").field("prefix", &self.prefix).field("config", &self.config).finish_non_exhaustive()
    }
}
