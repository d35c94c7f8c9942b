//! SQLite: triggers note the key of each changed row in a table; the row is read when its change is handed out.

mod place;
mod rows;
mod schema;

use std::{collections::BTreeMap, path::Path, time::Duration};

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{
    Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePool},
};

use self::{place::Place, schema::Table};
use super::{
    change::{Change, Operation, Position, RecordKey, Row, key_text},
    lenient,
    source::{Batch, ChangeSource, Lag, Resumed},
};
use crate::{Error, until::from_now};

/// Reads the changes of tables in an SQLite file, the embedded default.
///
/// Each table gets three triggers that write the key of a changed row into the table `nudj_changes`, in the transaction that
/// changes it: what is rolled back is never seen, and since SQLite has one writer, the order of the rows is the order of the
/// commits. The row itself is read when its change is handed out, so changes in quick succession may all show the newest row.
/// Triggers name no column but the key's: columns can be added, dropped and renamed while the pipeline runs. A table that does not
/// exist yet is taken in with all its rows when it appears.
///
/// A table that is made anew (`CREATE TABLE new`, copy, `DROP TABLE`, `RENAME`, as many tools migrate) loses its triggers, and what changes
/// before they are back is not noted. The source sees that, running or when it is started next, and so does it see another key and a table
/// that was not configured for a while: a new snapshot of all tables follows, by which rows that are gone are deleted at Nudj too. Which
/// tables are captured is noted in `nudj_captured`.
///
/// A snapshot is a note for each row, made in one transaction with the triggers: without gap or double, and a process that dies in
/// the middle goes on there.
///
/// A row that `REPLACE` removes because another has its value in a UNIQUE column or index fires no trigger unless the connection that
/// writes has `PRAGMA recursive_triggers = ON`, which SQLite leaves off and no other connection can set for it: its record stays at
/// Nudj. Set it wherever you write by `INSERT OR REPLACE`, `UPDATE OR REPLACE` or into a table with `ON CONFLICT REPLACE`. With it a
/// REPLACE over a row of the same key is a deletion and an insertion at Nudj too, so that its user is erased and made anew. Better
/// is `INSERT .. ON CONFLICT .. DO UPDATE`, which needs neither, and a DELETE for the row that is in the way.
///
/// A table without a primary key is refused. Bytes in a key become text in hex, as in every column, and a REAL is told exactly from 1e-50 to
/// 1e50, beyond which SQLite itself does not read what it writes; a row with NULL in its key, which
/// SQLite allows, has no name and is passed over, with a warning in the log. One file has one source, with all its tables.
#[derive(Debug)]
pub struct SqliteSource {
    pool: SqlitePool,
    names: Vec<String>,
    tables: BTreeMap<String, Table>,
    schema_version: Option<i64>,
    handed_out: i64,
    /// The note that is kept though its change is at Nudj, as all before it are.
    kept: i64,
    poll_interval: Duration,
}

impl SqliteSource {
    /// Opens the file for the tables with these names. Nothing is written before the pipeline starts.
    ///
    /// # Errors
    /// [`Error::Local`] when it cannot be opened.
    pub async fn open(
        path: impl AsRef<Path>,
        tables: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
        let opened = crate::sqlite::connect(crate::sqlite::one_connection(), options).await;
        Ok(Self::with_pool(opened.map_err(local)?, tables))
    }

    /// Uses a pool of yours.
    pub fn with_pool(pool: SqlitePool, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            pool,
            names: tables.into_iter().map(Into::into).collect(),
            tables: BTreeMap::new(),
            schema_version: None,
            handed_out: 0,
            kept: 0,
            poll_interval: Duration::from_millis(200),
        }
    }

    /// How long to wait between looks at an empty `nudj_changes`. Default 200 ms.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Makes triggers and reads keys again where the schema has changed. False when a table has changed unseen: then nothing is made, so
    /// that whoever looks next, another process even, finds the same until a snapshot is begun.
    async fn keep_up(&mut self) -> Result<bool, Error> {
        let version: i64 = sqlx::query_scalar("PRAGMA schema_version").fetch_one(&self.pool).await.map_err(local)?;
        if self.schema_version == Some(version) {
            return Ok(true);
        }
        // Waits for other writers here rather than failing later.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(local)?;
        let installed = schema::install(&mut transaction, &self.names).await?;
        if let Some(table) = installed.changed_unseen {
            transaction.rollback().await.map_err(local)?;
            tracing::warn!(table, "a table was made anew, has another key or was left out; a snapshot follows");
            return Ok(false);
        }
        self.tables = installed.tables;
        let version = sqlx::query_scalar("PRAGMA schema_version").fetch_one(&mut *transaction).await.map_err(local)?;
        transaction.commit().await.map_err(local)?;
        self.schema_version = Some(version);
        Ok(true)
    }

    /// `resume`, which comes next, finds the same.
    async fn must_keep_up(&mut self) -> Result<(), Error> {
        if self.keep_up().await? {
            return Ok(());
        }
        let problem = "a table was made anew or has another key, and may have changed unseen; a snapshot follows";
        Err(Error::Local(problem.into()))
    }

    async fn read(&mut self, limit: usize) -> Result<Batch, Error> {
        self.must_keep_up().await?;
        // One transaction: notes and rows are of the same moment.
        let mut transaction = self.pool.begin().await.map_err(local)?;
        let notes =
            sqlx::query("SELECT seq, tbl, op, record_key, at FROM nudj_changes WHERE seq > ? ORDER BY seq LIMIT ?")
                .bind(self.handed_out)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&mut *transaction)
                .await
                .map_err(local)?;
        let (mut batch, mut handed_out) = (Batch::default(), self.handed_out);
        for note in notes {
            let place = Place::of(&note)?;
            let op: String = note.try_get("op").map_err(local)?;
            handed_out = place.seq;
            batch.position = Some(place.position());
            if op == schema::SNAPSHOT_ENDS {
                batch.snapshot_complete = true;
                batch.missing = self.names.iter().filter(|name| !self.tables.contains_key(*name)).cloned().collect();
                break;
            }
            let table: String = note.try_get("tbl").map_err(local)?;
            let key = rows::key_text(&note)?;
            batch.changes.extend(self.change(&mut transaction, table, &op, &key, place).await?);
        }
        transaction.commit().await.map_err(local)?;
        self.handed_out = handed_out;
        Ok(batch)
    }

    /// `None` where a later note says what became of the row.
    async fn change(
        &self,
        connection: &mut SqliteConnection,
        table: String,
        op: &str,
        key: &str,
        place: Place,
    ) -> Result<Option<Change>, Error> {
        let known = self.tables.get(&table);
        let values = lenient::key(key)
            .map_err(|error| Error::corrupt("change table", format!("note {}: {error}", place.seq)))?;
        if values.contains(&Value::Null) {
            tracing::warn!(table, "a row whose key is NULL is passed over; give it a key");
            return Ok(None);
        }
        let record = RecordKey { table, key: key_text(&values) };
        let position = Some(place.position());
        let operation = match op {
            schema::DELETED => {
                let old = known.map(|known| known.key.iter().cloned().zip(values).collect::<Row>());
                return Ok(Some(Change { record, operation: Operation::Delete, old, new: None, position }));
            }
            schema::INSERTED => Operation::Insert,
            schema::UPDATED => Operation::Update,
            _ => Operation::Snapshot,
        };
        // What becomes of its rows is told when it is there again.
        let Some(known) = known else { return Ok(None) };
        // Not kept: a statement prepared before a column came or went knows the wrong columns.
        let row = sqlx::query(sqlx::AssertSqlSafe(known.select_one()))
            .persistent(false)
            .bind(place.seq)
            .fetch_optional(connection)
            .await
            .map_err(local)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Change { record, operation, old: None, new: Some(rows::to_json(&row)?), position }))
    }
}

#[async_trait]
impl ChangeSource for SqliteSource {
    async fn resume(&mut self, after: &Position) -> Result<Resumed, Error> {
        self.schema_version = None;
        let Some(place) = Place::read(after) else { return Ok(Resumed::Lost) };
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'nudj_changes'")
            .fetch_one(&self.pool)
            .await
            .map_err(local)?;
        if tables == 0 || !place.is_in(&self.pool).await? {
            return Ok(Resumed::Lost);
        }
        self.handed_out = place.seq;
        if self.kept == 0 {
            self.kept = place.seq;
        }
        Ok(if self.keep_up().await? { Resumed::Yes } else { Resumed::Lost })
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        self.schema_version = None;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(local)?;
        self.tables = schema::install(&mut transaction, &self.names).await?.tables;
        schema::note_all(&mut transaction, &self.tables).await?;
        transaction.commit().await.map_err(local)?;
        (self.handed_out, self.kept) = (0, 0);
        Ok(())
    }

    async fn next(&mut self, limit: usize) -> Result<Batch, Error> {
        let until = from_now(self.poll_interval);
        let batch = self.read(limit).await?;
        if batch.position.is_some() {
            return Ok(batch);
        }
        tokio::time::sleep_until(until).await;
        self.read(limit).await
    }

    async fn acknowledge(&mut self, upto: &Position) -> Result<(), Error> {
        let Some(Place { seq, .. }) = Place::read(upto) else { return Ok(()) };
        // All but the last, by which the position is known again.
        sqlx::query("DELETE FROM nudj_changes WHERE seq < ?").bind(seq).execute(&self.pool).await.map_err(local)?;
        self.kept = seq;
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        self.must_keep_up().await?;
        // Not counted, which would be to read them all: their numbers have no gaps, as one that is rolled back is given again.
        let row = sqlx::query(
            "SELECT (SELECT max(seq) FROM nudj_changes) - seq + 1 AS waiting, \
             (julianday('now') - julianday(at)) * 86400.0 AS age FROM nudj_changes WHERE seq > ? ORDER BY seq LIMIT 1",
        )
        .bind(self.kept)
        .fetch_optional(&self.pool)
        .await
        .map_err(local)?;
        let Some(row) = row else { return Ok(Lag { changes: Some(0), bytes: None, seconds: Some(0.0) }) };
        let waiting: i64 = row.try_get("waiting").map_err(local)?;
        let age: Option<f64> = row.try_get("age").map_err(local)?;
        Ok(Lag { changes: u64::try_from(waiting).ok(), bytes: None, seconds: Some(age.unwrap_or_default().max(0.0)) })
    }
}

fn local(error: sqlx::Error) -> Error {
    Error::Local(error.into())
}
