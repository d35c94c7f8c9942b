//! The SQLite files that hold what must not be lost.

use std::{path::Path, time::Duration};

use nudj_client::sqlite::while_busy;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

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

/// Opens a file that another process may be making at this moment.
pub(crate) async fn connect(pool: SqlitePoolOptions, options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    while_busy(|| pool.clone().connect_with(options.clone())).await
}

/// Opens the [`durable`] file by [`one_connection`]. Callers queue for it up to 5 s.
#[cfg(any(
    feature = "outbox-sqlite",
    all(feature = "sqlite", any(feature = "request-response", feature = "bidirectional"))
))]
pub(crate) async fn open(path: impl AsRef<Path>, what: &'static str) -> Result<SqlitePool, crate::Error> {
    let opened = connect(one_connection().acquire_timeout(WAIT), durable(path)).await;
    opened.map_err(|error| crate::Error::store(what, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_that_another_is_making_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let other = SqlitePool::connect_with(options).await.unwrap();
        let making = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let opening = connect(one_connection(), durable(&path));
        tokio::pin!(opening);
        let refused = tokio::time::timeout(Duration::from_millis(200), &mut opening).await;
        assert!(refused.is_err(), "it ended while the file was locked");
        making.rollback().await.unwrap();
        assert!(opening.await.is_ok());
    }
}
