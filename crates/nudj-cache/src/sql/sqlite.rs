use std::{fmt, path::PathBuf, time::Duration, time::UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::Instant;

use super::{Cleaning, PORTION, duration, migrator};
use crate::{
    clock::WallClock,
    entry::Entry,
    error::CacheError,
    level::{
        CacheLevel, Found, LevelError, Write,
        remembered::{DELETES_KEPT, age, millis},
    },
};

/// Where the SQLite level keeps its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file, created if it is missing. Without one it is kept in memory and gone with the process. Default none.
    pub path: Option<PathBuf>,
    /// Most entries. Beyond it those that would expire first are removed. At least 1, default 1 000 000.
    pub max_entries: u32,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { path: None, max_entries: 1_000_000 }
    }
}

/// A level in an embedded SQLite database: no server, and it survives a restart.
///
/// Several processes may use one file. Clones share the connections.
#[derive(Clone)]
pub struct SqliteLevel {
    pool: SqlitePool,
    max_entries: u32,
    clock: WallClock,
    cleaning: Cleaning,
}

/// How long one waits for another that has the file.
const BUSY: Duration = Duration::from_secs(5);

/// Of two that put a new file into WAL mode at once, SQLite refuses one, whatever the busy timeout: that one comes again, for
/// as long as it would have waited.
async fn connect(pool: &SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let until = Instant::now() + BUSY;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done,
        }
    }
}

/// SQLITE_BUSY in one of its forms: the low byte is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

impl SqliteLevel {
    /// Opens the file and brings its tables up to date.
    ///
    /// # Errors
    /// [`CacheError::Config`] when a field is out of range, [`CacheError::Setup`] when the file cannot be opened or is not
    /// ours.
    pub async fn open(config: SqliteConfig) -> Result<Self, CacheError> {
        Self::open_with_clock(config, WallClock::default()).await
    }

    /// The same, with rows dated by `clock`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with_clock(config: SqliteConfig, clock: WallClock) -> Result<Self, CacheError> {
        let SqliteConfig { path, max_entries } = config;
        if max_entries == 0 {
            return Err(CacheError::config("sqlite.max_entries", "must be at least 1"));
        }
        let options = SqliteConnectOptions::new().foreign_keys(true).busy_timeout(BUSY).create_if_missing(true);
        // A database in memory belongs to one connection, and is gone with it.
        let (options, pool) = match path {
            Some(path) => (
                options
                    .filename(path)
                    .journal_mode(SqliteJournalMode::Wal)
                    // A crash of the machine may lose the last writes, which for a cache are misses.
                    .synchronous(SqliteSynchronous::Normal),
                SqlitePoolOptions::new().max_connections(4),
            ),
            None => (
                options.in_memory(true),
                SqlitePoolOptions::new().min_connections(1).max_connections(1).idle_timeout(None).max_lifetime(None),
            ),
        };
        let failed = |message| {
            move |error: Box<dyn std::error::Error + Send + Sync>| CacheError::Setup {
                level: "sqlite",
                message,
                source: error,
            }
        };
        let opened = connect(&pool, &options).await;
        let pool = opened.map_err(|error| failed("the file could not be opened")(error.into()))?;
        let migrator = migrator(&[include_str!("../../migrations/sqlite/0001_cache.sql")]);
        let migrated = match migrator.run(&pool).await {
            // Another process may have been at it in the same moment: then there is nothing left to do.
            Err(_) => migrator.run(&pool).await,
            done => done,
        };
        migrated.map_err(|error| failed("its tables could not be brought up to date")(error.into()))?;
        Ok(Self { pool, max_entries, clock, cleaning: Cleaning::default() })
    }

    fn now(&self) -> i64 {
        self.clock.now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        // The lock for writing at once: a transaction that reads first may not get it later.
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// Notes a delete. From its commit on a write that is older is refused.
    async fn note(&self, name: String) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO nudj_cache_deletes (name, deleted_at) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET deleted_at = excluded.deleted_at",
        )
        .bind(name)
        .bind(self.now())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction)
    }

    async fn forget(&self, key: &str) -> Result<(), sqlx::Error> {
        let mut transaction = self.note(format!("k:{key}")).await?;
        sqlx::query("DELETE FROM nudj_cache_entries WHERE key = ?1").bind(key).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// The note by itself, then portion after portion, each committed: what was done by then stays done when the caller
    /// has no more time, and the next attempt goes on there.
    async fn forget_tag(&self, tag: &str) -> Result<(), sqlx::Error> {
        self.note(format!("t:{tag}")).await?.commit().await?;
        loop {
            let removed = sqlx::query(
                "DELETE FROM nudj_cache_entries WHERE key IN
                 (SELECT key FROM nudj_cache_tags WHERE tag = ?1 LIMIT ?2)",
            )
            .bind(tag)
            .bind(PORTION)
            .execute(&self.pool)
            .await?;
            if removed.rows_affected() < PORTION.unsigned_abs() {
                return Ok(());
            }
        }
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

    /// Removes what has expired and what is too much.
    async fn clean(&self) -> Result<(), sqlx::Error> {
        let now = self.now();
        loop {
            let removed = sqlx::query(
                "DELETE FROM nudj_cache_entries WHERE key IN
                 (SELECT key FROM nudj_cache_entries WHERE expires_at <= ?1 LIMIT ?2)",
            )
            .bind(now)
            .bind(PORTION)
            .execute(&self.pool)
            .await?;
            if removed.rows_affected() < PORTION.unsigned_abs() {
                break;
            }
        }
        sqlx::query("DELETE FROM nudj_cache_deletes WHERE deleted_at < ?1")
            .bind(now.saturating_sub(millis(DELETES_KEPT.saturating_mul(2))))
            .execute(&self.pool)
            .await?;
        self.clean_over_limit().await
    }

    async fn clean_over_limit(&self) -> Result<(), sqlx::Error> {
        // Looked for by itself, since it takes long where there are many rows, and a statement that deletes would hold all
        // writers up as long.
        let last: Option<(i64, String)> = sqlx::query_as(
            "SELECT expires_at, key FROM nudj_cache_entries ORDER BY expires_at DESC, key DESC LIMIT 1 OFFSET ?1",
        )
        .bind(i64::from(self.max_entries))
        .fetch_optional(&self.pool)
        .await?;
        let Some((expires_at, key)) = last else { return Ok(()) };
        loop {
            let removed = sqlx::query(
                "DELETE FROM nudj_cache_entries WHERE key IN
                 (SELECT key FROM nudj_cache_entries WHERE (expires_at, key) <= (?1, ?2) ORDER BY expires_at, key LIMIT ?3)",
            )
            .bind(expires_at)
            .bind(&key)
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
        self.clean().await.map_err(LevelError::backend)
    }
}

#[async_trait]
impl CacheLevel for SqliteLevel {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        let row: Option<(Vec<u8>, i64, i64)> =
            sqlx::query_as("SELECT value, written_at, expires_at FROM nudj_cache_entries WHERE key = ?1")
                .bind(key)
                .fetch_optional(&self.pool)
                .await
                .map_err(LevelError::backend)?;
        let Some((value, written_at, expires_at)) = row else { return Ok(None) };
        let now = self.now();
        // A clock that was set back says nothing about how long the row has been here.
        if now < written_at || now >= expires_at {
            return Ok(None);
        }
        let remaining = duration(expires_at.saturating_sub(now));
        let entry = Entry::from_bytes(&Bytes::from(value), remaining).ok_or(LevelError::Unreadable)?;
        Ok(Some(Found { entry, remaining }))
    }

    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        let mut transaction = self.begin().await.map_err(LevelError::backend)?;
        // Measured now, after the wait for the lock.
        let (Some(age), now) = (age(&write), self.now()) else { return Ok(()) };
        if age >= 0 {
            for name in std::iter::once(format!("k:{key}")).chain(entry.tags().map(|tag| format!("t:{tag}"))) {
                let deleted: Option<i64> =
                    sqlx::query_scalar("SELECT deleted_at FROM nudj_cache_deletes WHERE name = ?1")
                        .bind(name)
                        .fetch_optional(&mut *transaction)
                        .await
                        .map_err(LevelError::backend)?;
                if deleted.is_some_and(|deleted| deleted >= now.saturating_sub(age)) {
                    return Ok(());
                }
            }
        }
        sqlx::query(
            "INSERT INTO nudj_cache_entries (key, value, written_at, expires_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO UPDATE SET
             value = excluded.value, written_at = excluded.written_at, expires_at = excluded.expires_at",
        )
        .bind(key)
        .bind(entry.to_bytes(write.ttl).to_vec())
        .bind(now)
        .bind(now.saturating_add(millis(write.ttl)))
        .execute(&mut *transaction)
        .await
        .map_err(LevelError::backend)?;
        sqlx::query("DELETE FROM nudj_cache_tags WHERE key = ?1")
            .bind(key)
            .execute(&mut *transaction)
            .await
            .map_err(LevelError::backend)?;
        for tag in entry.tags() {
            sqlx::query("INSERT OR IGNORE INTO nudj_cache_tags (tag, key) VALUES (?1, ?2)")
                .bind(tag)
                .bind(key)
                .execute(&mut *transaction)
                .await
                .map_err(LevelError::backend)?;
        }
        transaction.commit().await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        self.forget(key).await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }

    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        self.forget_tag(tag).await.map_err(LevelError::backend)?;
        self.clean_if_due();
        Ok(())
    }
}

impl fmt::Debug for SqliteLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLevel").field("max_entries", &self.max_entries).finish_non_exhaustive()
    }
}
