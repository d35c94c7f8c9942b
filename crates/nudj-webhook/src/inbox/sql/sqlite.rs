//! [`SqliteInbox`].

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::Gauges;
use crate::Error;
use crate::inbox::Limits;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS nudj_webhook_inbox (
    source TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    body_key TEXT,
    event TEXT NOT NULL,
    body BLOB NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, -- 0 pending, 1 done, 2 dead letter
    attempts INTEGER NOT NULL DEFAULT 0,
    handled TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    received_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    settled_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (source, delivery_id),
    UNIQUE (source, body_key)
);
CREATE INDEX IF NOT EXISTS nudj_webhook_inbox_due ON nudj_webhook_inbox (source, state, due_at);
CREATE INDEX IF NOT EXISTS nudj_webhook_inbox_age ON nudj_webhook_inbox (source, state, received_at);";

/// Keeps deliveries in an SQLite file. A delivery is answered 2xx only after its row is on the disk.
///
/// One connection: SQLite has one writer anyway, and requests queue for it here in order, up to 5 s, instead of polling
/// a lock. Beyond that, and whenever the file cannot be written, the answer is 503.
#[derive(Clone, Debug)]
pub struct SqliteInbox {
    pool: SqlitePool,
    limits: Limits,
    gauges: std::sync::Arc<Gauges>,
}

impl SqliteInbox {
    /// Opens the file, making it where there is none, in write-ahead mode with a full sync per commit.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be opened or its table not be made.
    pub async fn open(path: impl AsRef<Path>, limits: impl Into<Limits>) -> Result<Self, Error> {
        let wait = Duration::from_secs(5);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(wait);
        let pool =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(wait).idle_timeout(None).max_lifetime(None);
        // Of two that put a new file into write-ahead mode at once, SQLite refuses one without waiting, whatever its busy timeout.
        let until = tokio::time::Instant::now() + wait;
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Err(error) if is_busy(&error) && tokio::time::Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                done => break done.map_err(Error::store)?,
            }
        };
        Self::with_pool(pool, limits).await
    }

    /// Uses a pool of yours, and makes the table in its database. How safe a commit is, is then yours to set.
    ///
    /// # Errors
    /// [`Error::Store`] when the table cannot be made.
    pub async fn with_pool(pool: SqlitePool, limits: impl Into<Limits>) -> Result<Self, Error> {
        sqlx::raw_sql(TABLE).execute(&pool).await.map_err(Error::store)?;
        let inbox = Self { pool, limits: limits.into(), gauges: std::sync::Arc::default() };
        inbox.count().await?;
        Ok(inbox)
    }
}

/// SQLITE_BUSY in one of its forms: the low byte is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

// A statement that writes has the whole database, so two claims cannot meet. All receivers are on one machine, with one
// clock: `due_at` is enough of a lease.
impl_inbox!(SqliteInbox, lock: "", free: "", lease: "", release: "");
