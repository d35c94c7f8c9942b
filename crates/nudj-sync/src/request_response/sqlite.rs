use std::path::Path;

use async_trait::async_trait;
use nudj_client::model::NewUser;
use sqlx::{
    Row as _,
    sqlite::{SqlitePool, SqliteRow},
};

use super::{Entry, Journal, Step, journal::no_record};
use crate::{Error, sqlite};

const WHAT: &str = "request-response journal";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS nudj_sync_request_response (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    step TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;";

/// A journal in an SQLite file: a record is on the disk before the step after it is begun.
#[derive(Clone, Debug)]
pub struct SqliteJournal {
    pool: SqlitePool,
}

impl SqliteJournal {
    /// Opens the file, making it where there is none, in write-ahead mode with a full sync per commit.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be opened or its table not be made.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with_pool(sqlite::open(path, WHAT).await?).await
    }

    /// Uses a pool of yours, and makes the table in its database. How safe a commit is, is then yours to set.
    ///
    /// # Errors
    /// [`Error::Store`] when the table cannot be made.
    pub async fn with_pool(pool: SqlitePool) -> Result<Self, Error> {
        sqlx::raw_sql(TABLE).execute(&pool).await.map_err(|error| Error::store(WHAT, error))?;
        Ok(Self { pool })
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn begin(&self, id: &str, user: &NewUser) -> Result<Option<Entry>, Error> {
        let user = serde_json::to_string(user).map_err(|error| Error::store(WHAT, error))?;
        let inserted = sqlx::query(
            "INSERT INTO nudj_sync_request_response (id, user, step) VALUES ($1, $2, 'begun') ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(user)
        .execute(&self.pool)
        .await
        .map_err(|error| Error::store(WHAT, error))?;
        if inserted.rows_affected() > 0 {
            return Ok(None);
        }
        // Finished in between: it is not begun now.
        self.get(id).await?.map(Some).ok_or_else(|| no_record(WHAT, id))
    }

    async fn get(&self, id: &str) -> Result<Option<Entry>, Error> {
        let known = sqlx::query("SELECT id, user, step, detail FROM nudj_sync_request_response WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| Error::store(WHAT, error))?;
        known.as_ref().map(entry).transpose()
    }

    async fn reached(&self, id: &str, step: &Step) -> Result<(), Error> {
        let (step, detail) = match step {
            Step::Begun => ("begun", ""),
            Step::Sending => ("sending", ""),
            Step::Created { nudj_id } => ("created", nudj_id.as_str()),
            Step::RollingBack { why } => ("rolling back", why.as_str()),
        };
        let updated = sqlx::query("UPDATE nudj_sync_request_response SET step = $2, detail = $3 WHERE id = $1")
            .bind(id)
            .bind(step)
            .bind(detail)
            .execute(&self.pool)
            .await
            .map_err(|error| Error::store(WHAT, error))?;
        if updated.rows_affected() == 0 { Err(no_record(WHAT, id)) } else { Ok(()) }
    }

    async fn finished(&self, id: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM nudj_sync_request_response WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(|error| Error::store(WHAT, error))?;
        Ok(())
    }

    async fn unfinished(&self, after: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        let rows = sqlx::query(
            "SELECT id, user, step, detail FROM nudj_sync_request_response WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(|error| Error::store(WHAT, error))?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, Error> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(|error| Error::store(WHAT, error));
    let (id, detail, step) = (text("id")?, text("detail")?, text("step")?);
    let user: NewUser = serde_json::from_str(&text("user")?)
        .map_err(|error| Error::corrupt(WHAT, format!("the user of record {id:?}: {error}")))?;
    let step = match step.as_str() {
        "begun" => Step::Begun,
        "sending" => Step::Sending,
        "created" => Step::Created { nudj_id: detail },
        "rolling back" => Step::RollingBack { why: detail },
        other => {
            return Err(Error::corrupt(
                WHAT,
                format!("record {id:?} is at step {other:?}; was it written by a later version?"),
            ));
        }
    };
    Ok(Entry { id, user, step })
}
