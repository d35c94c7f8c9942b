//! The journals' SQLite file.

use std::{path::Path, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::Error;

/// Opens the file, making it where there is none, in write-ahead mode with a full sync per commit. One connection: SQLite has one
/// writer anyway, and callers queue for it here, up to 5 s.
pub(crate) async fn open(path: impl AsRef<Path>, what: &'static str) -> Result<SqlitePool, Error> {
    let wait = Duration::from_secs(5);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(wait);
    SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(wait)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|error| Error::store(what, error))
}
