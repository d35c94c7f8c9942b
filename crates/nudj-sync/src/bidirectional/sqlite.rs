use std::path::Path;

use async_trait::async_trait;
use sqlx::{Row as _, sqlite::SqlitePool};

use super::{CONFLICTS_KEPT, Conflict, Link, State};
use crate::{Error, sqlite};

const WHAT: &str = "bidirectional state";

const TABLES: &str = "CREATE TABLE IF NOT EXISTS nudj_sync_link (
    key TEXT PRIMARY KEY,
    link TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nudj_sync_conflict (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    conflict TEXT NOT NULL
);";

/// Links and conflicts in an SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteState {
    pool: SqlitePool,
}

impl SqliteState {
    /// Opens the file, making it where there is none, in write-ahead mode with a full sync per commit.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be opened or its tables not be made.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with_pool(sqlite::open(path, WHAT).await?).await
    }

    /// Uses a pool of yours, and makes the tables in its database. How safe a commit is, is then yours to set.
    ///
    /// # Errors
    /// [`Error::Store`] when the tables cannot be made.
    pub async fn with_pool(pool: SqlitePool) -> Result<Self, Error> {
        sqlx::raw_sql(TABLES).execute(&pool).await.map_err(failed)?;
        Ok(Self { pool })
    }
}

fn failed(error: sqlx::Error) -> Error {
    Error::store(WHAT, error)
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(WHAT, error.to_string()))
}

#[async_trait]
impl State for SqliteState {
    async fn link(&self, key: &str) -> Result<Option<Link>, Error> {
        let row = sqlx::query("SELECT link FROM nudj_sync_link WHERE key = $1").bind(key);
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(|row| read(&row.try_get::<String, _>(0).map_err(failed)?)).transpose()
    }

    async fn save(&self, key: &str, link: &Link, conflict: Option<&Conflict>) -> Result<(), Error> {
        let text = serde_json::to_string(link).map_err(|error| Error::store(WHAT, error))?;
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        sqlx::query("INSERT INTO nudj_sync_link (key, link) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET link = $2")
            .bind(key)
            .bind(text)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if let Some(conflict) = conflict {
            let text = serde_json::to_string(conflict).map_err(|error| Error::store(WHAT, error))?;
            let insert = sqlx::query("INSERT INTO nudj_sync_conflict (conflict) VALUES ($1)").bind(text);
            let number = insert.execute(&mut *transaction).await.map_err(failed)?.last_insert_rowid();
            sqlx::query("DELETE FROM nudj_sync_conflict WHERE number <= $1")
                .bind(number.saturating_sub(i64::from(CONFLICTS_KEPT)))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn forget(&self, key: &str) -> Result<(), Error> {
        let delete = sqlx::query("DELETE FROM nudj_sync_link WHERE key = $1").bind(key);
        delete.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn keys(&self, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        let rows = sqlx::query("SELECT key FROM nudj_sync_link WHERE key > $1 ORDER BY key LIMIT $2");
        let rows = rows.bind(after).bind(limit).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
    }

    async fn conflicts(&self, limit: u32) -> Result<Vec<Conflict>, Error> {
        let rows = sqlx::query("SELECT conflict FROM nudj_sync_conflict ORDER BY number DESC LIMIT $1");
        let rows = rows.bind(limit).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(|row| read(&row.try_get::<String, _>(0).map_err(failed)?)).collect()
    }
}
