//! What the triggers call.

use sqlx::{AssertSqlSafe, PgConnection};

use super::local;
use crate::Error;

/// By its version: `CREATE OR REPLACE` would change under the triggers of earlier ones what their arguments mean.
pub(super) const FUNCTION: &str = "nudj_cdc_note_3()";

const TABLES: &str = "SELECT pg_advisory_xact_lock(4815162342108151);
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
CREATE TABLE IF NOT EXISTS nudj_captured (tbl TEXT PRIMARY KEY)";

/// One function serves all tables. Its arguments are the table's name and the numbers of the columns of the key that it was made for; these are
/// looked up by number, so that a new name is followed. Where the key is another by now, or a column of it is gone, the old one would name
/// another's record: then all that is noted is that (`K`). A row is written, whatever we make of it.
///
/// It has the rights of its owner, so it takes nothing from the schemas of whoever writes: neither a table of that name, which a temporary one
/// would be, nor an operator. And nobody else may make a trigger of it.
const BODY: &str = "CREATE OR REPLACE FUNCTION nudj_cdc_note_3() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    was JSONB; is_now JSONB; was_key JSONB; now_key JSONB; names TEXT[]; is_other BOOLEAN; given OID; parent OID;
BEGIN
    -- A partition has its own trigger, and other numbers than the table that was given ours.
    SELECT tgrelid, tgparentid INTO given, parent FROM pg_trigger WHERE tgrelid = TG_RELID AND tgname = TG_NAME;
    WHILE parent <> 0 LOOP
        SELECT tgrelid, tgparentid INTO given, parent FROM pg_trigger WHERE oid = parent;
    END LOOP;
    -- Whoever began to read before the trigger was made does not see it.
    IF given IS NULL AND NOT (SELECT relispartition FROM pg_class WHERE oid = TG_RELID) THEN
        given := TG_RELID;
    END IF;
    names := (
        SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS k (attnum, n)
        JOIN pg_attribute a ON a.attrelid = given AND a.attnum = k.attnum::int2 AND NOT a.attisdropped
    );
    is_other := (
        SELECT array_to_string((i.indkey::int2[])[0:i.indnkeyatts - 1], ' ') <> array_to_string(TG_ARGV[1:], ' ')
        FROM pg_index i WHERE i.indrelid = given AND i.indisprimary
    );
    IF TG_OP <> 'INSERT' THEN
        was := to_jsonb(OLD);
        was_key := (SELECT jsonb_agg(was -> k ORDER BY n) FROM unnest(names) WITH ORDINALITY AS a (k, n));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        is_now := to_jsonb(NEW);
        now_key := (SELECT jsonb_agg(is_now -> k ORDER BY n) FROM unnest(names) WITH ORDINALITY AS a (k, n));
    END IF;
    -- A transaction that began before a column got its new name still sees the old one.
    IF is_other OR (COALESCE(is_now, was) ?& names AND cardinality(names) = TG_NARGS - 1) IS NOT TRUE THEN
        INSERT INTO {changes} (tbl, op, record_key) VALUES (TG_ARGV[0], 'K', '[]');
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {changes} (tbl, op, record_key, old) VALUES (TG_ARGV[0], 'D', was_key, was);
    ELSIF TG_OP = 'UPDATE' AND was_key <> now_key THEN
        INSERT INTO {changes} (tbl, op, record_key, old) VALUES (TG_ARGV[0], 'D', was_key, was);
        INSERT INTO {changes} (tbl, op, record_key, new) VALUES (TG_ARGV[0], 'I', now_key, is_now);
    ELSE
        INSERT INTO {changes} (tbl, op, record_key, old, new)
        VALUES (TG_ARGV[0], left(TG_OP, 1), now_key, was, is_now);
    END IF;
    RETURN NULL;
END $body$;
REVOKE EXECUTE ON FUNCTION nudj_cdc_note_3() FROM PUBLIC";

/// Functions of earlier versions look for their table where whoever writes may have put one of his own.
const RETIRE: &str = "DO $do$
DECLARE old regprocedure; home TEXT;
BEGIN
    FOR old, home IN
        SELECT p.oid, p.pronamespace::regnamespace::text
        FROM unnest(ARRAY['nudj_cdc_note()', 'nudj_cdc_note_2()']) AS name JOIN pg_proc p ON p.oid = to_regprocedure(name)
        WHERE pg_has_role(p.proowner, 'USAGE')
    LOOP
        IF EXISTS (SELECT FROM pg_trigger WHERE tgfoid = old) THEN
            -- Of a table that is not captured any more.
            EXECUTE format('ALTER FUNCTION %s SET search_path = %s, pg_temp', old, home);
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', old);
        ELSE
            EXECUTE format('DROP FUNCTION %s', old);
        END IF;
    END LOOP;
END $do$";

/// Makes the tables and the function.
pub(super) async fn make(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::raw_sql(TABLES).execute(&mut *connection).await.map_err(local)?;
    let changes: String = sqlx::query_scalar(
        "SELECT quote_ident(n.nspname) || '.nudj_changes' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = to_regclass('nudj_changes')",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(local)?;
    let function = BODY.replace("{changes}", &changes);
    sqlx::raw_sql(AssertSqlSafe(function)).execute(connection).await.map(drop).map_err(local)
}

/// Behind the last trigger that called one of them.
pub(super) async fn retire_earlier(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::raw_sql(RETIRE).execute(connection).await.map(drop).map_err(local)
}
