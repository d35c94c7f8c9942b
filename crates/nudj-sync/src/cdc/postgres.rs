//! PostgreSQL without replication rights: triggers, a change table, and a cursor that no running transaction can slip behind.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};

use super::{
    change::{Change, Operation, Position, RecordKey, Row, key_text, stable_hash},
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
/// The trigger takes whole rows, so columns can be added, dropped and renamed. A table that does not exist yet is taken in with all
/// its rows when the stream is opened next. A snapshot, and taking in a table, writes a note for each row under the lock that
/// `CREATE TRIGGER` takes: writers of these tables wait for that long. TRUNCATE is not seen.
#[derive(Debug)]
pub struct PostgresSource {
    pool: PgPool,
    names: Vec<String>,
    at: Cursor,
    /// The change that is kept though it is at Nudj.
    kept: i64,
    poll_interval: Duration,
}

/// Everything below `from` was handed out, and of `from..upto` the changes up to `id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    from: u64,
    upto: u64,
    id: i64,
    /// When the change `id` was made, in microseconds: one of this number that was made at another time belongs to another past of
    /// the database. Positions of earlier versions lack it.
    at: Option<i64>,
}

impl Cursor {
    fn position(self) -> Position {
        let Self { from, upto, id, at } = self;
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        Position::new(format!("{from}:{upto}:{id}{at}"))
    }

    fn read(position: &Position) -> Option<Self> {
        let mut parts = position.as_str().split(':');
        let (from, upto, id) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let at = parts.next().map(str::parse).transpose().ok()?;
        (parts.next().is_none() && from <= upto).then_some(Self { from, upto, id, at })
    }
}

/// One function serves all tables: its arguments are the columns of the key.
const SETUP: &str = "SELECT pg_advisory_xact_lock(4815162342108151);
CREATE TABLE IF NOT EXISTS nudj_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tbl TEXT NOT NULL,
    op TEXT NOT NULL,
    record_key JSONB NOT NULL,
    old JSONB,
    new JSONB,
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS nudj_changes_xid ON nudj_changes (xid, id);
CREATE INDEX IF NOT EXISTS nudj_changes_record ON nudj_changes (tbl, record_key, id);
CREATE OR REPLACE FUNCTION nudj_cdc_note() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $body$
DECLARE
    was JSONB; is_now JSONB; was_key JSONB; now_key JSONB;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was := to_jsonb(OLD);
        was_key := (SELECT jsonb_agg(was -> k ORDER BY n) FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS a (k, n));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        is_now := to_jsonb(NEW);
        now_key := (SELECT jsonb_agg(is_now -> k ORDER BY n) FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS a (k, n));
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO nudj_changes (tbl, op, record_key, old) VALUES (TG_ARGV[0], 'D', was_key, was);
    ELSIF TG_OP = 'UPDATE' AND was_key <> now_key THEN
        INSERT INTO nudj_changes (tbl, op, record_key, old) VALUES (TG_ARGV[0], 'D', was_key, was);
        INSERT INTO nudj_changes (tbl, op, record_key, new) VALUES (TG_ARGV[0], 'I', now_key, is_now);
    ELSE
        INSERT INTO nudj_changes (tbl, op, record_key, old, new)
        VALUES (TG_ARGV[0], left(TG_OP, 1), now_key, was, is_now);
    END IF;
    RETURN NULL;
END $body$";

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

impl PostgresSource {
    /// For the tables with these names, `schema.table` where they are not on the search path. `nudj_changes` is made in the first
    /// schema of the search path when the pipeline starts.
    pub fn with_pool(pool: PgPool, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names = tables.into_iter().map(Into::into).collect();
        Self { pool, names, at: Cursor::default(), kept: 0, poll_interval: Duration::from_millis(200) }
    }

    /// How long to wait between looks when there is nothing new. Default 200 ms.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Makes what is missing; true when the change table was not there.
    async fn install(&self, connection: &mut PgConnection) -> Result<bool, Error> {
        let is_new: bool = sqlx::query_scalar("SELECT to_regclass('nudj_changes') IS NULL")
            .fetch_one(&mut *connection)
            .await
            .map_err(local)?;
        if is_new {
            sqlx::raw_sql(SETUP).execute(&mut *connection).await.map_err(local)?;
        }
        for name in &self.names {
            let Some(key) = key_of(connection, name).await? else { continue };
            let arguments: Vec<String> = std::iter::once(name).chain(&key).map(|text| literal(text)).collect();
            let arguments = arguments.join(", ");
            let trigger = format!("nudj_cdc_{:016x}", stable_hash(&arguments));
            let there: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass($1) AND tgname = $2)",
            )
            .bind(name)
            .bind(&trigger)
            .fetch_one(&mut *connection)
            .await
            .map_err(local)?;
            if there {
                continue;
            }
            lock(connection, name).await?;
            let create = format!(
                "CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW \
                 EXECUTE FUNCTION nudj_cdc_note({arguments})",
                identifier(name)
            );
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await.map_err(local)?;
            note_all(connection, name, &key).await?;
        }
        Ok(is_new)
    }

    async fn missing(&self) -> Result<Vec<String>, Error> {
        let ask = "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NULL";
        sqlx::query_scalar(ask).bind(&self.names).fetch_all(&self.pool).await.map_err(local)
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
                "D" => Operation::Delete,
                "I" => Operation::Insert,
                "U" => Operation::Update,
                _ => Operation::Snapshot,
            };
            let table = row.try_get("tbl").map_err(local)?;
            let key: String = row.try_get("record_key").map_err(local)?;
            let key = lenient::key(&key).map_err(|error| unreadable(at.id, &error))?;
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
        let mut transaction = self.pool.begin().await.map_err(local)?;
        if self.install(&mut transaction).await? {
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
        let mut transaction = self.pool.begin().await.map_err(local)?;
        // All tables first: then no change of them is under way, and none can come between.
        let mut tables = Vec::new();
        for name in &self.names {
            if let Some(key) = key_of(&mut transaction, name).await? {
                lock(&mut transaction, name).await?;
                tables.push((name, key));
            }
        }
        self.install(&mut transaction).await?;
        sqlx::raw_sql("DELETE FROM nudj_changes").execute(&mut *transaction).await.map_err(local)?;
        for (name, key) in tables {
            note_all(&mut transaction, name, &key).await?;
        }
        let end = "INSERT INTO nudj_changes (tbl, op, record_key) VALUES ('', 'E', '[]')";
        sqlx::raw_sql(end).execute(&mut *transaction).await.map_err(local)?;
        transaction.commit().await.map_err(local)?;
        (self.at, self.kept) = (Cursor::default(), 0);
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
        let row = sqlx::query(
            "SELECT count(*) AS waiting, extract(epoch FROM clock_timestamp() - min(at))::float8 AS age \
             FROM nudj_changes WHERE id <> $1",
        )
        .bind(self.kept)
        .fetch_one(&self.pool)
        .await
        .map_err(local)?;
        let waiting: i64 = row.try_get("waiting").map_err(local)?;
        let age: Option<f64> = row.try_get("age").map_err(local)?;
        Ok(Lag { changes: u64::try_from(waiting).ok(), bytes: None, seconds: Some(age.unwrap_or_default().max(0.0)) })
    }
}

/// Writers of the table wait from here on. Ours is the side that gives up, long before the server would look for a deadlock and
/// might pick a writer; the pipeline tries again.
async fn lock(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    let lock = format!("SET LOCAL lock_timeout = '100ms'; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", identifier(name));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(connection).await.map(drop).map_err(local)
}

/// The columns of the primary key in their order; `None` where there is no such table.
async fn key_of(connection: &mut PgConnection, name: &str) -> Result<Option<Vec<String>>, Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(name)
        .fetch_one(&mut *connection)
        .await
        .map_err(local)?;
    if !there {
        return Ok(None);
    }
    let key: Vec<String> = sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY k.n",
    )
    .bind(name)
    .fetch_all(connection)
    .await
    .map_err(local)?;
    if key.is_empty() {
        return Err(Error::Local(
            format!("table {name} cannot be captured: it has no primary key; declare one").into(),
        ));
    }
    Ok(Some(key))
}

async fn note_all(connection: &mut PgConnection, name: &str, key: &[String]) -> Result<(), Error> {
    let columns: Vec<String> = key.iter().map(|column| format!("to_jsonb(t) -> {}", literal(column))).collect();
    let note = format!(
        "INSERT INTO nudj_changes (tbl, op, record_key, new) SELECT {}, 'S', jsonb_build_array({}), to_jsonb(t) FROM {} t",
        literal(name),
        columns.join(", "),
        identifier(name)
    );
    sqlx::raw_sql(AssertSqlSafe(note)).execute(connection).await.map(drop).map_err(local)
}

/// `schema.table` is two names.
pub(super) fn identifier(name: &str) -> String {
    let parts = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn unreadable(id: i64, error: &serde_json::Error) -> Error {
    Error::corrupt("change table", format!("note {id}: {error}"))
}

fn local(error: sqlx::Error) -> Error {
    Error::Local(error.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn position_reads_back(from: u64, more in 0_u64..1000, id: i64, at: Option<i64>) {
            let cursor = Cursor { from, upto: from.saturating_add(more), id, at };
            prop_assert_eq!(Cursor::read(&cursor.position()), Some(cursor));
        }

        #[test]
        fn no_text_is_taken_for_more_than_it_is(text in ".{0,40}") {
            if let Some(cursor) = Cursor::read(&Position::new(text)) {
                prop_assert!(cursor.from <= cursor.upto);
            }
        }
    }
}
