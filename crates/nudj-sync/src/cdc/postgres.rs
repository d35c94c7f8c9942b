//! PostgreSQL without replication rights: triggers, a change table, and a cursor that no running transaction can slip behind.

mod cursor;
mod function;
mod schema;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Row as _, Transaction};

#[cfg(feature = "cdc-logical")]
pub(super) use self::schema::{identifier, literal};
use self::{
    cursor::Cursor,
    schema::{install, key_of, lock, made_anew, note_all},
};
use super::{
    change::{Change, Operation, Position, RecordKey, Row, key_text},
    lenient,
    source::{Batch, ChangeSource, Lag, Resumed},
};
use crate::{Error, until::from_now};

/// Reads the changes of tables in PostgreSQL 13 or later with the rights of the tables' owner; no `wal_level` is asked for.
///
/// Each table gets one trigger that writes the changed row, before and after, into `nudj_changes`, with the transaction's id
/// (`xid8`). So DELETEs are seen like all others. What is read is bounded by the oldest running transaction,
/// `pg_snapshot_xmin(pg_current_snapshot())`: below it every transaction has ended, so nothing can appear there later, which is
/// what a cursor over a timestamp or a sequence loses rows by. A transaction that stays open holds up the stream, never a writer.
///
/// Within such a stretch changes are handed out in the order in which they were made; since a row is locked while it is changed,
/// that is the order of its commits. A stretch ends early where a change above it was made before one inside it.
///
/// The trigger takes whole rows, and the columns of the key that it was made for by their names of now, so columns can be added, dropped and
/// renamed. A table that does not exist yet is taken in, with all its rows, when the stream is opened next.
///
/// All tables are told anew, by a snapshot after which rows that are gone are deleted at Nudj too, when a table has changed where the trigger
/// does not reach: it was given another primary key (seen at the first change after that), was made anew (seen when the lag is measured), or was not
/// configured for a while; each is seen when the stream is opened next, too. By another key all rows are others, more than `cdc.max_gone_share` of
/// them: the pipeline stands still then until it is raised. While its trigger is replaced, those who read a table wait as well.
/// Which tables are captured is noted in `nudj_captured`.
///
/// **The trigger's note takes a number from a sequence, in the session that writes.** So `SELECT lastval()` there, which is
/// `PDO::lastInsertId()` without a name and what ports from MySQL ask, no longer tells the number of your row: it fails, or tells the note's. Use
/// `INSERT … RETURNING id`, or `currval(pg_get_serial_sequence('users', 'id'))`, which are not touched. The trigger works with the rights of the
/// role that the pipeline runs as, so writers need none on our tables.
///
/// Where row-level security would hide rows from that role, the pipeline stands still and says so: the triggers tell all rows, and a snapshot of some
/// would delete the others at Nudj. Run it as the tables' owner, or give it BYPASSRLS. A snapshot, and taking in a table, writes a note for each row under the lock that
/// `CREATE TRIGGER` takes: writers of these tables wait for that long. TRUNCATE is not seen. One schema has one source, with all its tables.
#[derive(Debug)]
pub struct PostgresSource {
    pool: PgPool,
    names: Vec<String>,
    at: Cursor,
    /// The change that is kept though it is at Nudj.
    kept: i64,
    /// A table has changed under names that nobody knows.
    is_lost: bool,
    poll_interval: Duration,
}

/// Where a stretch from `$1` may end: not above a running transaction, and not between two changes of one record that were made in
/// the other order than their transactions began.
const STRETCH: &str = "WITH RECURSIVE bound (upto, step) AS (
    SELECT pg_snapshot_xmin(pg_current_snapshot()), 0
    UNION ALL
    SELECT narrower.xid, bound.step + 1 FROM bound CROSS JOIN LATERAL (
        SELECT min(inside.xid) AS xid FROM nudj_changes inside JOIN nudj_changes above
            ON above.tbl = inside.tbl AND above.record_key = inside.record_key AND above.id < inside.id
        WHERE inside.xid >= $1::text::xid8 AND inside.xid < bound.upto AND above.xid >= bound.upto
    ) narrower WHERE narrower.xid IS NOT NULL
) SELECT upto::text FROM bound ORDER BY step DESC LIMIT 1";

/// Not all of them are counted, which would be to read them all. Beyond ten thousand it is how far their numbers go, some of which belong to
/// transactions that were rolled back.
const LAG: &str = "SELECT CASE WHEN counted > 10000 THEN last - id + 1 ELSE counted END AS waiting, age FROM
    (SELECT count(*) AS counted FROM (SELECT FROM nudj_changes WHERE id <> $1 LIMIT 10001) AS those) AS counted,
    (SELECT max(id) AS last FROM nudj_changes) AS last
    LEFT JOIN (SELECT id, extract(epoch FROM clock_timestamp() - at)::float8 AS age
        FROM nudj_changes WHERE id <> $1 ORDER BY id LIMIT 1) AS oldest ON true";

impl PostgresSource {
    /// For the tables with these names, `schema.table` where they are not on the search path. A name is taken as it is, without quotes: `User`
    /// is the table that was made as `"User"`, and one made as `User` is called `user`. `nudj_changes` is made in the first
    /// schema of the search path when the pipeline starts.
    pub fn with_pool(pool: PgPool, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = tables.into_iter().map(Into::into).collect();
        Self { pool, names, at: Cursor::default(), kept: 0, is_lost: false, poll_interval: Duration::from_millis(200) }
    }

    /// How long to wait between looks when there is nothing new. Default 200 ms.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    async fn missing(&self) -> Result<Vec<String>, Error> {
        let ask = "SELECT name FROM unnest($1::text[], $2::text[]) AS asked (name, written) WHERE to_regclass(written) IS NULL";
        let written: Vec<String> = self.names.iter().map(|name| schema::identifier(name)).collect();
        sqlx::query_scalar(ask).bind(&self.names).bind(written).fetch_all(&self.pool).await.map_err(local)
    }

    /// Each statement of it sees what was committed before, whatever the role's or the server's default: a table's rows are to be seen as they
    /// are once it is locked, not as they were before. And all of its rows, or none.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        let mut transaction = self.pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(local)?;
        let all_rows = "SET LOCAL row_security = off";
        sqlx::raw_sql(all_rows).execute(&mut *transaction).await.map_err(local)?;
        Ok(transaction)
    }

    async fn read(&mut self, limit: usize) -> Result<Batch, Error> {
        let mut batch = Batch::default();
        let rows = sqlx::query(
            "SELECT id, tbl, op, record_key::text, old::text, new::text, (extract(epoch FROM at) * 1000000)::int8 AS micros \
             FROM nudj_changes WHERE xid >= $1::text::xid8 AND xid < $2::text::xid8 AND id > $3 ORDER BY id LIMIT $4",
        )
        .bind(self.at.from.to_string())
        .bind(self.at.upto.to_string())
        .bind(self.at.id)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(local)?;
        if rows.is_empty() {
            // The stretch is at its end; the next one begins there.
            let upto: String = sqlx::query_scalar(STRETCH)
                .bind(self.at.upto.to_string())
                .fetch_one(&self.pool)
                .await
                .map_err(local)?;
            let upto = upto.parse::<u64>().map_err(|error| Error::Local(error.into()))?;
            self.at = Cursor { from: self.at.upto, upto: upto.max(self.at.upto), id: 0, at: None };
            return Ok(batch);
        }
        let mut at = self.at;
        for row in rows {
            at.id = row.try_get("id").map_err(local)?;
            at.at = Some(row.try_get("micros").map_err(local)?);
            batch.position = Some(at.position());
            let op: String = row.try_get("op").map_err(local)?;
            let operation = match op.as_str() {
                "E" => {
                    batch.snapshot_complete = true;
                    batch.missing = self.missing().await?;
                    break;
                }
                "K" => {
                    let table: String = row.try_get("tbl").map_err(local)?;
                    if !self.names.contains(&table) {
                        // It has its trigger from a time when it was captured.
                        continue;
                    }
                    self.is_lost = true;
                    let problem =
                        format!("table {table} was changed after it was given another primary key; a snapshot follows");
                    return Err(Error::Local(problem.into()));
                }
                "D" => Operation::Delete,
                "I" => Operation::Insert,
                "U" => Operation::Update,
                _ => Operation::Snapshot,
            };
            let table = row.try_get("tbl").map_err(local)?;
            let key: String = row.try_get("record_key").map_err(local)?;
            let key = lenient::exact_key(&key).map_err(|error| unreadable(at.id, &error))?;
            let side = |name: &str| -> Result<Option<Row>, Error> {
                let text: Option<String> = row.try_get(name).map_err(local)?;
                text.map(|text| lenient::row(&text).map_err(|error| unreadable(at.id, &error))).transpose()
            };
            let (old, new) = (side("old")?, side("new")?);
            batch.changes.push(Change {
                record: RecordKey { table, key: key_text(&key) },
                operation,
                old,
                new,
                position: Some(at.position()),
            });
        }
        self.at = at;
        Ok(batch)
    }
}

#[async_trait]
impl ChangeSource for PostgresSource {
    async fn resume(&mut self, after: &Position) -> Result<Resumed, Error> {
        let Some(at) = Cursor::read(after) else { return Ok(Resumed::Lost) };
        if self.is_lost {
            return Ok(Resumed::Lost);
        }
        let mut transaction = self.begin().await?;
        if install(&mut transaction, &self.names).await? {
            // Nothing is made yet: whoever looks next, another process even, finds the same until a snapshot is begun.
            transaction.rollback().await.map_err(local)?;
            tracing::warn!("a table was made anew, has another key or was left out; a snapshot follows");
            return Ok(Resumed::Lost);
        }
        // A database that was put back to an earlier day has not come so far, or by another way.
        let is_of_another_past: bool = sqlx::query_scalar(
            "SELECT $1::text::xid8 > pg_snapshot_xmax(pg_current_snapshot()) OR $3 IS NOT NULL AND NOT EXISTS ( \
                SELECT FROM nudj_changes WHERE id = $2 AND (extract(epoch FROM at) * 1000000)::int8 = $3)",
        )
        .bind(at.upto.to_string())
        .bind(at.id)
        .bind(at.at)
        .fetch_one(&mut *transaction)
        .await
        .map_err(local)?;
        transaction.commit().await.map_err(local)?;
        self.at = at;
        if self.kept == 0 {
            self.kept = at.id;
        }
        Ok(if is_of_another_past { Resumed::Lost } else { Resumed::Yes })
    }

    async fn begin_snapshot(&mut self) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        // All tables first: then no change of them is under way, and none can come between.
        let mut tables = Vec::new();
        for name in &self.names {
            if let Some(key) = key_of(&mut transaction, name).await? {
                lock(&mut transaction, name).await?;
                tables.push((name, key));
            }
        }
        install(&mut transaction, &self.names).await?;
        sqlx::raw_sql("DELETE FROM nudj_changes").execute(&mut *transaction).await.map_err(local)?;
        for (name, key) in tables {
            note_all(&mut transaction, name, &key).await?;
        }
        let end = "INSERT INTO nudj_changes (tbl, op, record_key) VALUES ('', 'E', '[]')";
        sqlx::raw_sql(end).execute(&mut *transaction).await.map_err(local)?;
        transaction.commit().await.map_err(local)?;
        (self.at, self.kept, self.is_lost) = (Cursor::default(), 0, false);
        Ok(())
    }

    async fn next(&mut self, limit: usize) -> Result<Batch, Error> {
        let until = from_now(self.poll_interval);
        // The second look is into the next stretch.
        for _ in 0..2 {
            let batch = self.read(limit).await?;
            if batch.position.is_some() {
                return Ok(batch);
            }
        }
        tokio::time::sleep_until(until).await;
        // A transaction that stays open, be it in another database, holds back what was committed after it began. And the stretch at
        // hand, which begins where the last look ended, was not looked into yet.
        let held_back = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM nudj_changes WHERE xid >= $1::text::xid8 AND (xid >= $2::text::xid8 OR id > $3))",
        )
            .bind(self.at.from.to_string())
            .bind(self.at.upto.to_string())
            .bind(self.at.id)
            .fetch_one(&self.pool)
            .await
            .map_err(local)?;
        Ok(Batch { held_back, ..Batch::default() })
    }

    async fn acknowledge(&mut self, upto: &Position) -> Result<(), Error> {
        let Some(at) = Cursor::read(upto) else { return Ok(()) };
        // All but the last, by which the position is known again.
        let delete = "DELETE FROM nudj_changes \
                      WHERE (xid < $1::text::xid8 OR (xid < $2::text::xid8 AND id <= $3)) AND id <> $3";
        sqlx::query(delete)
            .bind(at.from.to_string())
            .bind(at.upto.to_string())
            .bind(at.id)
            .execute(&self.pool)
            .await
            .map_err(local)?;
        self.kept = at.id;
        Ok(())
    }

    async fn lag(&mut self) -> Result<Lag, Error> {
        if let Some(table) = made_anew(&self.pool, &self.names).await? {
            // `resume`, which comes next, finds the same.
            let problem = format!("table {table} was made anew and may have changed unseen; a snapshot follows");
            return Err(Error::Local(problem.into()));
        }
        let row = sqlx::query(LAG).bind(self.kept).fetch_one(&self.pool).await.map_err(local)?;
        let waiting: i64 = row.try_get("waiting").map_err(local)?;
        let age: Option<f64> = row.try_get("age").map_err(local)?;
        Ok(Lag { changes: u64::try_from(waiting).ok(), bytes: None, seconds: Some(age.unwrap_or_default().max(0.0)) })
    }
}

fn unreadable(id: i64, error: &serde_json::Error) -> Error {
    Error::corrupt("change table", format!("note {id}: {error}"))
}

fn local(error: sqlx::Error) -> Error {
    Error::Local(error.into())
}
