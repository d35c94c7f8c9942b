use std::{fmt, sync::Arc};

use nudj_tower::idempotency::KeyStore;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::OnceCell;

use super::{KeyFuture, KeysConfig, bounded, digest};
use crate::Error;

/// Keys in PostgreSQL, in a table `nudj_keys` that the first key makes. Times are the server's. Clones share the connections.
#[derive(Clone)]
pub struct PostgresKeys {
    pool: PgPool,
    config: KeysConfig,
    made: Arc<OnceCell<()>>,
}

impl PostgresKeys {
    /// Keeps keys at `url` (`postgres://user:password@host/database`), by up to 4 connections. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// Of kind `config` when the address cannot be read or `config` is out of range.
    pub fn new(url: &str, config: KeysConfig) -> Result<Self, Error> {
        config.validate()?;
        // The driver's message may hold a part of the address, and that its password.
        let options: PgConnectOptions = url.parse().map_err(|_unread: sqlx::Error| {
            Error::config("keys url", "is not of the form postgres://user:password@host/database")
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .acquire_timeout(config.timeout)
            .connect_lazy_with(options.application_name("nudj-keys"));
        Self::with_pool(pool, config)
    }

    /// Keeps keys by connections of your own.
    ///
    /// # Errors
    /// Of kind `config` when `config` is out of range.
    pub fn with_pool(pool: PgPool, config: KeysConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { pool, config, made: Arc::default() })
    }

    async fn make(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        // Two that make the same table at once are not what IF NOT EXISTS is for.
        for statement in [
            "SELECT pg_advisory_xact_lock(hashtextextended('nudj_keys', 0))",
            "CREATE TABLE IF NOT EXISTS nudj_keys
             (name text COLLATE \"C\" PRIMARY KEY, key text NOT NULL, expires_at timestamptz NOT NULL)",
            "CREATE INDEX IF NOT EXISTS nudj_keys_expires_at ON nudj_keys (expires_at)",
        ] {
            sqlx::query(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn keep(self, name: String, new_key: String) -> Result<String, sqlx::Error> {
        self.made.get_or_try_init(|| self.make()).await?;
        let inserted: Option<String> = sqlx::query_scalar(
            "INSERT INTO nudj_keys (name, key, expires_at) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
             ON CONFLICT (name) DO UPDATE SET key = excluded.key, expires_at = excluded.expires_at
             WHERE nudj_keys.expires_at <= clock_timestamp() RETURNING key",
        )
        .bind(&name)
        .bind(&new_key)
        .bind(i64::try_from(self.config.keep.as_millis()).unwrap_or(i64::MAX))
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
            "DELETE FROM nudj_keys WHERE name IN (SELECT name FROM nudj_keys WHERE expires_at <= clock_timestamp()
             LIMIT 16 FOR UPDATE SKIP LOCKED)",
        )
        .execute(&self.pool)
        .await;
        Ok(key)
    }
}

impl KeyStore for PostgresKeys {
    type Future = KeyFuture;

    fn get_or_insert(&self, name: String, new_key: String) -> KeyFuture {
        bounded("PostgreSQL table", self.config.timeout, self.clone().keep(digest(&name), new_key))
    }
}

impl fmt::Debug for PostgresKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool: its options hold the password.
        f.debug_struct("PostgresKeys").field("config", &self.config).finish_non_exhaustive()
    }
}
