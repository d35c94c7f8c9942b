//! [`SqliteOutbox`].

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Sqlite, Transaction};
use tokio::sync::Notify;

use super::OutboxConfig;
use super::row::{WHAT, store};
use crate::{Error, event::Event, sqlite};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS nudj_sync_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    event_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    event_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 1 dead letter, 2 done
    due_at INTEGER NOT NULL, -- of a leased row: when its lease ends
    attempts INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    settled_at INTEGER,
    parked INTEGER NOT NULL DEFAULT 0, -- 1: behind another row of its key
    UNIQUE (queue, event_id)
);
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_waiting ON nudj_sync_outbox (queue, state, seq);
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_key ON nudj_sync_outbox (queue, event_key, seq) WHERE state <= 1;
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_done ON nudj_sync_outbox (queue, settled_at) WHERE state = 2;";

/// A table of an earlier version has no such column.
const PARKED: &str = "ALTER TABLE nudj_sync_outbox ADD COLUMN parked INTEGER NOT NULL DEFAULT 0";

/// Made last: where the second is, all is.
const FRONT: &str = "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_front ON nudj_sync_outbox (queue, seq) WHERE state = 0 AND parked = 0;
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_parked ON nudj_sync_outbox (queue, event_key, seq) WHERE state = 0 AND parked = 1;";

/// An outbox in an SQLite file: for one machine, whose processes may share the file. Clones are one outbox.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), nudj_sync::BoxError> {
/// use nudj_sync::event::{Event, EventBus, OutboxConfig, SqliteOutbox};
///
/// # let folder = tempfile::tempdir()?;
/// let outbox = SqliteOutbox::open(folder.path().join("app.db"), OutboxConfig::default()).await?;
/// sqlx::raw_sql("CREATE TABLE users (id TEXT PRIMARY KEY)").execute(outbox.pool()).await?;
///
/// // The user and the event about it: both or neither.
/// let mut transaction = outbox.begin().await?;
/// sqlx::query("INSERT INTO users VALUES ('u-1')").execute(&mut *transaction).await?;
/// outbox.publish_in(&mut transaction, &Event::new("user.registered", "u-1", ())?).await?;
/// transaction.commit().await?;
/// assert_eq!(outbox.lag().await?.waiting, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteOutbox {
    pool: SqlitePool,
    config: OutboxConfig,
    wake: Arc<Notify>,
    /// Up to which key the last sweep came.
    swept: Arc<Mutex<String>>,
}

impl SqliteOutbox {
    /// Opens the file, making it where there is none, in write-ahead mode with a full sync per commit.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Store`] when it cannot be opened or its table not be made.
    pub async fn open(path: impl AsRef<Path>, config: OutboxConfig) -> Result<Self, Error> {
        Self::with_pool(sqlite::open(path, WHAT).await?, config).await
    }

    /// Uses a pool of yours, and makes the table in its database. How safe a commit is, and how long one waits for another, is then yours
    /// to set.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Store`] when the table cannot be made.
    pub async fn with_pool(pool: SqlitePool, config: OutboxConfig) -> Result<Self, Error> {
        config.validate()?;
        make_table(&pool).await.map_err(store)?;
        Ok(Self { pool, config, wake: Arc::default(), swept: Arc::default() })
    }

    /// The pool, to read and write your own tables with. Opened by [`open`](Self::open) it has one connection: end a transaction before you
    /// wait for anything else of this outbox.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Begins a transaction that will write, waiting for the turn now: one that begins by reading and writes later fails when another
    /// wrote in between.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(store)
    }

    /// A database with one writer has nothing to put in order.
    async fn take_turns(&self, _: &mut SqliteConnection, _: &[&Event]) -> Result<(), Error> {
        Ok(())
    }
}

async fn make_table(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let is_there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'nudj_sync_outbox_parked')";
    if sqlx::query_scalar(is_there).fetch_one(pool).await? {
        return Ok(());
    }
    // Others may be making it at this moment.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLE).execute(&mut *transaction).await?;
    let has_column = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('nudj_sync_outbox') WHERE name = 'parked')";
    if !sqlx::query_scalar::<_, bool>(has_column).fetch_one(&mut *transaction).await? {
        sqlx::raw_sql(PARKED).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(FRONT).execute(&mut *transaction).await?;
    transaction.commit().await
}

// A statement that writes has the whole database, so two claims cannot meet.
impl_outbox!(
    SqliteOutbox,
    Sqlite,
    SqliteConnection,
    now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    lock: "",
    share: "",
    front: "INDEXED BY nudj_sync_outbox_front"
);
