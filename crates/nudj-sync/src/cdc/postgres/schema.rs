//! The change table and its triggers.

use sqlx::{AssertSqlSafe, PgConnection};

use super::local;
use crate::{Error, cdc::change::stable_hash};

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

/// Makes what is missing; true when the change table was not there.
pub(super) async fn install(connection: &mut PgConnection, names: &[String]) -> Result<bool, Error> {
    let is_new: bool = sqlx::query_scalar("SELECT to_regclass('nudj_changes') IS NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(local)?;
    if is_new {
        sqlx::raw_sql(SETUP).execute(&mut *connection).await.map_err(local)?;
    }
    for name in names {
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

/// Writers of the table wait from here on. Ours is the side that gives up, long before the server would look for a deadlock and
/// might pick a writer; the pipeline tries again.
pub(super) async fn lock(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    let lock = format!("SET LOCAL lock_timeout = '100ms'; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", identifier(name));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(connection).await.map(drop).map_err(local)
}

/// The columns of the primary key in their order; `None` where there is no such table.
pub(super) async fn key_of(connection: &mut PgConnection, name: &str) -> Result<Option<Vec<String>>, Error> {
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

pub(super) async fn note_all(connection: &mut PgConnection, name: &str, key: &[String]) -> Result<(), Error> {
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
pub(in crate::cdc) fn identifier(name: &str) -> String {
    let parts = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

pub(in crate::cdc) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
