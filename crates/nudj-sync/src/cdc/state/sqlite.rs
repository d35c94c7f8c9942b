use std::path::Path;

use sqlx::sqlite::SqlitePool;

use super::failed;
use crate::{Error, sqlite};

/// Keeps the state in an SQLite file: the tables `nudj_cdc_streams`, `nudj_cdc_links` and `nudj_cdc_dead_letters`.
#[derive(Clone, Debug)]
pub struct SqliteState {
    pool: SqlitePool,
    stream: String,
}

impl SqliteState {
    /// Opens the file, making it where there is none, with a full sync per commit. One pipeline has one `stream`.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be opened or its tables not be made.
    pub async fn open(path: impl AsRef<Path>, stream: impl Into<String>) -> Result<Self, Error> {
        let opened = sqlite::connect(sqlite::one_connection(), sqlite::durable(path)).await;
        Self::with_pool(opened.map_err(failed)?, stream).await
    }

    /// Uses a pool of yours. How safe a commit is, is then yours to set.
    ///
    /// # Errors
    /// [`Error::Store`] when the tables cannot be made.
    pub async fn with_pool(pool: SqlitePool, stream: impl Into<String>) -> Result<Self, Error> {
        sqlx::raw_sql(TABLES).execute(&pool).await.map_err(failed)?;
        Ok(Self { pool, stream: stream.into() })
    }
}

impl_state!(SqliteState, "");
