use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, Postgres, Transaction, postgres::PgConnectOptions, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

use super::{Cleaning, PORTION, duration, migrator};
use crate::{
    entry::Entry,
    error::CacheError,
    level::{
        CacheLevel, Found, LevelError, Write,
        remembered::{DELETES_KEPT, age, millis},
    },
};

/// The PostgreSQL level's limits. The address is given apart, since it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Most entries. Beyond it those that would expire first are removed. At least 1, default 1 000 000.
    pub max_entries: u32,
    /// Most connections. At least 1, default 8.
    pub max_connections: u32,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self { max_entries: 1_000_000, max_connections: 8 }
    }
}

/// A level in PostgreSQL, in three unlogged tables that begin with `nudj_cache_`.
///
/// Times are the server's. Clones share the connections.
#[derive(Clone)]
pub struct PostgresLevel {
    pool: PgPool,
    max_entries: u32,
    migrated: Arc<OnceCell<()>>,
    cleaning: Cleaning,
}

impl PostgresLevel {
    /// A level at `url` (`postgres://user:password@host/database`). Nothing is connected yet: the first operation
    /// connects and brings the tables up to date, and until that is done the level answers nothing.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CacheError::Config`] when the address cannot be read or a field is out of range.
    pub fn new(url: &str, config: &PostgresConfig) -> Result<Self, CacheError> {
        for (number, field) in
            [(config.max_entries, "postgres.max_entries"), (config.max_connections, "postgres.max_connections")]
        {
            if number == 0 {
                return Err(CacheError::config(field, "must be at least 1"));
            }
        }
        let options: PgConnectOptions = url.parse().map_err(|_unread: sqlx::Error| {
            // The driver's message may hold a part of the address, and that its password.
            CacheError::config("postgres.url", "is not of the form postgres://user:password@host/database")
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options.application_name("nudj-cache"));
        Ok(Self::with_pool(pool, config))
    }

    /// A level over connections of your own. Of `config` it takes `max_entries`; 0 is taken for 1.
    #[must_use]
    pub fn with_pool(pool: PgPool, config: &PostgresConfig) -> Self {
        let (migrated, cleaning) = (Arc::default(), Cleaning::default());
        Self { pool, max_entries: config.max_entries.max(1), migrated, cleaning }
    }

    /// Brings the tables up to date now, so that a wrong address shows at the start.
    ///
    /// # Errors
    /// [`CacheError::Setup`] when the server cannot be reached or refuses.
    pub async fn migrate(&self) -> Result<(), CacheError> {
        let failed = |error: sqlx::migrate::MigrateError| CacheError::Setup {
            level: "postgres",
            message: "its tables could not be brought up to date",
            source: error.into(),
        };
        self.migrated
            .get_or_try_init(|| async {
                let migrator = migrator(&[include_str!("../../migrations/postgres/0001_cache.sql")]);
                migrator.run(&self.pool).await.map_err(failed)
            })
            .await
            .copied()
    }

    async fn ready(&self) -> Result<(), LevelError> {
        if self.migrated.initialized() {
            return Ok(());
        }
        // In a task of its own: it may take longer than one operation may, and must not begin anew each time.
        let level = self.clone();
        let migrated = tokio::spawn(async move { level.migrate().await }).await;
        migrated.map_err(LevelError::backend)?.map_err(LevelError::backend)
    }

    /// Notes a delete. From its commit on a write that is older is refused.
    async fn note(&self, name: String) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        // Alone with this name: a write is wholly before (and is deleted) or wholly after (and sees the delete).
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(&name)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO nudj_cache_deletes (name, deleted_at) VALUES ($1, clock_timestamp())
             ON CONFLICT (name) DO UPDATE SET deleted_at = excluded.deleted_at",
        )
        .bind(&name)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction)
    }

    async fn forget(&self, key: &str) -> Result<(), sqlx::Error> {
        let mut transaction = self.note(format!("k:{key}")).await?;
        sqlx::query("DELETE FROM nudj_cache_entries WHERE key = $1").bind(key).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// The note by itself, then portion after portion, each a statement that the server ends and commits whether its
    /// caller is still there or not: so the next attempt goes on where this one had no more time.
    async fn forget_tag(&self, tag: &str) -> Result<(), sqlx::Error> {
        self.note(format!("t:{tag}")).await?.commit().await?;
        loop {
            // Those named count, not those removed: another delete may be at the same ones, and at no others yet.
            let named: i64 = sqlx::query_scalar(
                "WITH named AS MATERIALIZED (SELECT key FROM nudj_cache_tags WHERE tag = $1 ORDER BY key LIMIT $2),
                 removed AS (DELETE FROM nudj_cache_entries WHERE key IN (SELECT key FROM named))
                 SELECT count(*) FROM named",
            )
            .bind(tag)
            .bind(PORTION)
            .fetch_one(&self.pool)
            .await?;
            if named < PORTION {
                return Ok(());
            }
        }
    }

    async fn write(&self, key: &str, entry: &Entry, write: Write) -> Result<(), sqlx::Error> {
        let tags: Vec<&str> = entry.tags().collect();
        let mut names: Vec<String> = tags.iter().map(|tag| format!("t:{tag}")).collect();
        names.push(format!("k:{key}"));
        // In one order everywhere, or two writes could wait for each other.
        names.sort_unstable();
        let mut transaction = self.pool.begin().await?;
        let mut now: i64 = 0;
        for name in &names {
            now = sqlx::query_scalar(
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
                 FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))) AS locked",
            )
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        }
        // Measured after the server said what time it was: counted back from that, it is early rather than late.
        let Some(age) = age(&write) else { return Ok(()) };
        // Statements of their own: each sees what was committed before the locks were had.
        if age >= 0 {
            let deleted: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM nudj_cache_deletes WHERE name = ANY($1)
                 AND (extract(epoch FROM deleted_at) * 1000000)::bigint >= $2)",
            )
            .bind(&names)
            .bind(now.saturating_sub(age.saturating_mul(1000)))
            .fetch_one(&mut *transaction)
            .await?;
            if deleted {
                return Ok(());
            }
        }
        sqlx::query(
            "INSERT INTO nudj_cache_entries (key, value, expires_at)
             VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
             ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
        )
        .bind(key)
        .bind(&entry.to_bytes(write.ttl)[..])
        // 10 000 years: beyond it the interval has no room.
        .bind(millis(write.ttl).min(315_360_000_000_000))
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM nudj_cache_tags WHERE key = $1 AND tag <> ALL($2)")
            .bind(key)
            .bind(&tags)
            .execute(&mut *transaction)
            .await?;
        if !tags.is_empty() {
            sqlx::query("INSERT INTO nudj_cache_tags (tag, key) SELECT unnest($2::text[]), $1 ON CONFLICT DO NOTHING")
                .bind(key)
                .bind(&tags)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    fn clean_if_due(&self) {
        self.cleaning.spawn_if_due(|| {
            let level = self.clone();
            move || {
                let level = level.clone();
                async move { level.clean().await }
            }
        });
    }

    async fn clean(&self) -> Result<(), sqlx::Error> {
        loop {
            let removed = sqlx::query(
                "DELETE FROM nudj_cache_entries WHERE key IN (SELECT key FROM nudj_cache_entries
                 WHERE expires_at <= clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED)",
            )
            .bind(PORTION)
            .execute(&self.pool)
            .await?;
            if removed.rows_affected() < PORTION.unsigned_abs() {
                break;
            }
        }
        sqlx::query(
            "DELETE FROM nudj_cache_deletes WHERE deleted_at < clock_timestamp() - $1 * interval '1 millisecond'",
        )
        .bind(millis(DELETES_KEPT.saturating_mul(2)))
        .execute(&self.pool)
        .await?;
        // Looked for once: it takes long where there are many rows.
        let last: Option<String> = sqlx::query_scalar(
            "SELECT expires_at::text FROM nudj_cache_entries ORDER BY expires_at DESC LIMIT 1 OFFSET $1",
        )
        .bind(i64::from(self.max_entries))
        .fetch_optional(&self.pool)
        .await?;
        let Some(last) = last else { return Ok(()) };
        loop {
            let removed = sqlx::query(
                "DELETE FROM nudj_cache_entries WHERE key IN (SELECT key FROM nudj_cache_entries
                 WHERE expires_at <= $1::text::timestamptz ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            )
            .bind(&last)
            .bind(PORTION)
            .execute(&self.pool)
            .await?;
            if removed.rows_affected() < PORTION.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// Removes expired rows, and those over `max_entries`, now. Happens by itself every few hundred writes and deletes.
    ///
    /// # Errors
    /// [`LevelError::Backend`] when the database fails; the rest is removed next time.
    pub async fn clean_now(&self) -> Result<(), LevelError> {
        self.ready().await?;
        self.clean().await.map_err(LevelError::backend)
    }
}

#[async_trait]
impl CacheLevel for PostgresLevel {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        self.ready().await?;
        let row: Option<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT value, floor(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint
             FROM nudj_cache_entries WHERE key = $1 AND expires_at > clock_timestamp()",
        )
        .bind(key)
        .fetch_optional(&self.pool)
        .await
        .map_err(LevelError::backend)?;
        let Some((value, remaining)) = row else { return Ok(None) };
        let remaining = duration(remaining);
        let entry = Entry::from_bytes(&Bytes::from(value), remaining).ok_or(LevelError::Unreadable)?;
        Ok(Some(Found { entry, remaining }))
    }

    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        self.ready().await?;
        self.write(key, entry, write).await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        self.ready().await?;
        self.forget(key).await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }

    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        self.ready().await?;
        self.forget_tag(tag).await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }
}

impl fmt::Debug for PostgresLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool: its options hold the password.
        f.debug_struct("PostgresLevel").field("max_entries", &self.max_entries).finish_non_exhaustive()
    }
}
