//! The SQLite files that hold what must not be lost.

use std::{path::Path, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// How long one writer waits for another.
const WAIT: Duration = Duration::from_secs(5);

/// Makes the file where there is none; write-ahead mode, with a full sync per commit.
pub(crate) fn durable(path: impl AsRef<Path>) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(WAIT)
}

/// One connection that is never given up: SQLite has one writer anyway, and who waits for it here waits in order.
pub(crate) fn one_connection() -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None)
}

/// Opens the [`durable`] file by [`one_connection`]. Callers queue for it up to 5 s.
#[cfg(any(
    feature = "outbox-sqlite",
    all(feature = "sqlite", any(feature = "request-response", feature = "bidirectional"))
))]
pub(crate) async fn open(path: impl AsRef<Path>, what: &'static str) -> Result<sqlx::SqlitePool, crate::Error> {
    one_connection()
        .acquire_timeout(WAIT)
        .connect_with(durable(path))
        .await
        .map_err(|error| crate::Error::store(what, error))
}
