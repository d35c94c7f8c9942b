use std::{fmt, path::Path, sync::Arc, time::Duration};

use nudj_tower::idempotency::KeyStore;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::OnceCell;

use super::{KeyFuture, KeysConfig, bounded, digest};
use crate::{Error, sqlite::while_busy};

/// Keys in an SQLite file, on disk before the request that carries them is sent. Clones share the file.
#[derive(Clone)]
pub struct SqliteKeys {
    pool: SqlitePool,
    config: KeysConfig,
    made: Arc<OnceCell<()>>,
}

impl SqliteKeys {
    /// Keeps keys in this file, made when the first key is asked for. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Of kind `config` when `config` is out of range.
    pub fn open(path: impl AsRef<Path>, config: KeysConfig) -> Result<Self, Error> {
        config.validate()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A key whose request was sent must be there after a crash of the machine as well.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(config.timeout);
        let pool =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(config.timeout).connect_lazy_with(options);
        Self::with_pool(pool, config)
    }

    /// Keeps keys by connections of your own.
    ///
    /// # Errors
    /// Of kind `config` when `config` is out of range.
    pub fn with_pool(pool: SqlitePool, config: KeysConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { pool, config, made: Arc::default() })
    }

    async fn keep(self, name: String, new_key: String) -> Result<String, sqlx::Error> {
        self.made
            .get_or_try_init(|| async {
                drop(while_busy(|| self.pool.acquire()).await?);
                for statement in [
                    "CREATE TABLE IF NOT EXISTS nudj_keys
                     (name TEXT PRIMARY KEY, key TEXT NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID",
                    "CREATE INDEX IF NOT EXISTS nudj_keys_expires_at ON nudj_keys (expires_at)",
                ] {
                    sqlx::query(statement).execute(&self.pool).await?;
                }
                Ok::<_, sqlx::Error>(())
            })
            .await?;
        let inserted: Option<String> = sqlx::query_scalar(
            "INSERT INTO nudj_keys (name, key, expires_at) VALUES ($1, $2, unixepoch() + $3)
             ON CONFLICT (name) DO UPDATE SET key = excluded.key, expires_at = excluded.expires_at
             WHERE nudj_keys.expires_at <= unixepoch() RETURNING key",
        )
        .bind(&name)
        .bind(&new_key)
        .bind(seconds(self.config.keep))
        .fetch_optional(&self.pool)
        .await?;
        let Some(key) = inserted else {
            return sqlx::query_scalar("SELECT key FROM nudj_keys WHERE name = $1")
                .bind(&name)
                .fetch_one(&self.pool)
                .await;
        };
        // Faster than keys come, and a failure is made up for by the next.
        let _ = sqlx::query(
            "DELETE FROM nudj_keys WHERE name IN
             (SELECT name FROM nudj_keys WHERE expires_at <= unixepoch() LIMIT 16)",
        )
        .execute(&self.pool)
        .await;
        Ok(key)
    }
}

/// Whole seconds, rounded up.
fn seconds(keep: Duration) -> i64 {
    i64::try_from(keep.as_secs() + u64::from(keep.subsec_nanos() > 0)).unwrap_or(i64::MAX)
}

impl KeyStore for SqliteKeys {
    type Future = KeyFuture;

    fn get_or_insert(&self, name: String, new_key: String) -> KeyFuture {
        bounded("SQLite file", self.config.timeout, self.clone().keep(digest(&name), new_key))
    }
}

impl fmt::Debug for SqliteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteKeys").field("config", &self.config).finish_non_exhaustive()
    }
}
