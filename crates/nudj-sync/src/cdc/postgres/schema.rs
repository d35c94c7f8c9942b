//! The change table and its triggers.

use sqlx::{AssertSqlSafe, PgConnection};

use super::local;
use crate::{Error, cdc::change::stable_hash};

/// One function serves all tables. The columns of the key are those of now, by whatever names; those of when the trigger was made, its arguments,
/// stand in where the table has no key any more: a row is written, whatever we make of it.
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
CREATE OR REPLACE FUNCTION nudj_cdc_note_2() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $body$
DECLARE
    was JSONB; is_now JSONB; was_key JSONB; now_key JSONB; names TEXT[];
BEGIN
    names := COALESCE((
        SELECT array_agg(a.attname::text ORDER BY k.n)
        FROM pg_catalog.pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = TG_RELID AND i.indisprimary AND k.n <= i.indnkeyatts
    ), TG_ARGV[1:]);
    IF TG_OP <> 'INSERT' THEN
        was := to_jsonb(OLD);
        was_key := (SELECT jsonb_agg(was -> k ORDER BY n) FROM unnest(names) WITH ORDINALITY AS a (k, n));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        is_now := to_jsonb(NEW);
        now_key := (SELECT jsonb_agg(is_now -> k ORDER BY n) FROM unnest(names) WITH ORDINALITY AS a (k, n));
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

/// Makes what is missing; true when the change table was not there, or a table is told apart by other columns than before: what the records of
/// their past are called now, nobody knows.
pub(super) async fn install(connection: &mut PgConnection, names: &[String]) -> Result<bool, Error> {
    let (is_new, lacks_function): (bool, bool) =
        sqlx::query_as("SELECT to_regclass('nudj_changes') IS NULL, to_regprocedure('nudj_cdc_note_2()') IS NULL")
            .fetch_one(&mut *connection)
            .await
            .map_err(local)?;
    if is_new || lacks_function {
        sqlx::raw_sql(SETUP).execute(&mut *connection).await.map_err(local)?;
    }
    let mut is_other = false;
    for name in names {
        let Some(key) = key_of(connection, name).await? else { continue };
        let arguments: Vec<String> = std::iter::once(name).chain(&key.names).map(|text| literal(text)).collect();
        let arguments = arguments.join(", ");
        // By the columns' numbers, which a new name leaves as they are.
        let trigger = format!("nudj_cdc_{:016x}", stable_hash(&format!("{name} {:?}", key.numbers)));
        let ours: Vec<String> = sqlx::query_scalar(
            "SELECT tgname::text FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal \
             AND tgname LIKE 'nudj\\_cdc\\_%' AND substring(tgargs FROM 1 FOR octet_length($2)) = $2",
        )
        .bind(name)
        .bind([name.as_bytes(), &[0]].concat())
        .fetch_all(&mut *connection)
        .await
        .map_err(local)?;
        if ours == [trigger.as_str()] {
            continue;
        }
        lock(connection, name).await?;
        for other in &ours {
            is_other = true;
            let drop = format!("DROP TRIGGER {} ON {}", identifier(other), identifier(name));
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await.map_err(local)?;
        }
        let create = format!(
            "CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW \
                 EXECUTE FUNCTION nudj_cdc_note_2({arguments})",
            identifier(name)
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await.map_err(local)?;
        note_all(connection, name, &key).await?;
    }
    Ok(is_new || is_other)
}

/// Writers of the table wait from here on. Ours is the side that gives up, long before the server would look for a deadlock and
/// might pick a writer; the pipeline tries again.
pub(super) async fn lock(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    let lock = format!("SET LOCAL lock_timeout = '100ms'; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", identifier(name));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(connection).await.map(drop).map_err(local)
}

/// The columns of a primary key, in their order.
pub(super) struct Key {
    names: Vec<String>,
    /// As the catalog numbers them, from the day they were made.
    numbers: Vec<i16>,
}

/// The table's primary key; `None` where there is no such table.
pub(super) async fn key_of(connection: &mut PgConnection, name: &str) -> Result<Option<Key>, Error> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(name)
        .fetch_one(&mut *connection)
        .await
        .map_err(local)?;
    if !there {
        return Ok(None);
    }
    let columns: Vec<(String, i16)> = sqlx::query_as(
        "SELECT a.attname::text, k.attnum FROM pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = to_regclass($1) AND i.indisprimary AND k.n <= i.indnkeyatts ORDER BY k.n",
    )
    .bind(name)
    .fetch_all(connection)
    .await
    .map_err(local)?;
    if columns.is_empty() {
        return Err(Error::Local(
            format!("table {name} cannot be captured: it has no primary key; declare one").into(),
        ));
    }
    let (names, numbers) = columns.into_iter().unzip();
    Ok(Some(Key { names, numbers }))
}

pub(super) async fn note_all(connection: &mut PgConnection, name: &str, key: &Key) -> Result<(), Error> {
    let columns: Vec<String> = key.names.iter().map(|column| format!("to_jsonb(t) -> {}", literal(column))).collect();
    let note = format!(
        "INSERT INTO nudj_changes (tbl, op, record_key, new) SELECT {}, 'S', jsonb_build_array({}), to_jsonb(t) FROM {} t",
        literal(name),
        columns.join(", "),
        identifier(name)
    );
    sqlx::raw_sql(AssertSqlSafe(note)).execute(connection).await.map(drop).map_err(local)
}

/// `schema.table` is two names.
pub(in crate::cdc) fn identifier(name: &str) -> String {
    let parts = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

pub(in crate::cdc) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
