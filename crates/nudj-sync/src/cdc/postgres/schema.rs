//! The change table and its triggers.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{
    function::{self, FUNCTION},
    local,
};
use crate::{Error, cdc::change::stable_hash};

/// A trigger that writes the changes of a table of this name.
struct Trigger {
    name: String,
    /// The table that it is on, to be written into a statement.
    on_table: String,
    /// It is on the table that has the name now.
    is_here: bool,
    /// It calls the function of this version.
    is_current: bool,
}

/// Those of `$1`, which is followed by a zero, for the table `$2`.
const TRIGGERS: &str = "SELECT tgname::text AS name, tgrelid::regclass::text AS on_table, tgrelid = to_regclass($2) AS is_here, \
    coalesce(tgfoid = to_regprocedure($3), false) AS is_current FROM pg_trigger \
    WHERE tgparentid = 0 AND NOT tgisinternal AND substring(tgargs FROM 1 FOR octet_length($1)) = $1 \
    AND tgfoid IN (to_regprocedure($3), to_regprocedure('nudj_cdc_note_2()'), to_regprocedure('nudj_cdc_note()'))";

/// Makes what is missing; a table that is captured for the first time gets a note for each of its rows. True when the change table was not
/// there, or a table that was captured before has changed unseen or under other names: it was made anew, is told apart by other columns, or
/// was left out for a while. A note for each row would not tell of those that are gone.
pub(super) async fn install(connection: &mut PgConnection, names: &[String]) -> Result<bool, Error> {
    let (is_new, tells, has_function): (bool, bool, bool) = sqlx::query_as(
        "SELECT to_regclass('nudj_changes') IS NULL, to_regclass('nudj_captured') IS NOT NULL, to_regprocedure($1) IS NOT NULL",
    )
    .bind(FUNCTION)
    .fetch_one(&mut *connection)
    .await
    .map_err(local)?;
    if is_new || !tells || !has_function {
        function::make(connection).await?;
    }
    // What is left out from here on is told to nobody.
    let delete = sqlx::query("DELETE FROM nudj_captured WHERE tbl <> ALL($1)").bind(names);
    delete.execute(&mut *connection).await.map_err(local)?;
    let mut is_lost = is_new;
    for name in names {
        let Some(key) = key_of(connection, name).await? else { continue };
        let marked = sqlx::query("INSERT INTO nudj_captured VALUES ($1) ON CONFLICT DO NOTHING").bind(name);
        let is_marked = marked.execute(&mut *connection).await.map_err(local)?.rows_affected() == 0;
        // By the columns' numbers, which a new name leaves as they are.
        let trigger = format!("nudj_cdc_{:016x}", stable_hash(&format!("{name} {:?}", key.numbers)));
        let ours = triggers_of(connection, name).await?;
        let is_same = matches!(&ours[..], [one] if one.is_here && one.name == trigger);
        // The tables of an earlier version do not say which were captured.
        let is_first = ours.is_empty() && !is_marked && tells;
        is_lost |= !is_first && !(is_same && (is_marked || !tells));
        if is_same && ours.iter().all(|trigger| trigger.is_current) {
            continue;
        }
        // Until the end of the transaction: no change is made between the one trigger and the other.
        lock(connection, name).await?;
        for Trigger { name, on_table, .. } in &ours {
            let drop = format!("DROP TRIGGER {} ON {on_table}", identifier(name));
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *connection).await.map_err(local)?;
        }
        let numbers = key.numbers.iter().map(|number| format!(", '{number}'"));
        let create = format!(
            "CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW \
                 EXECUTE FUNCTION nudj_cdc_note_3({}{})",
            identifier(name),
            literal(name),
            numbers.collect::<String>()
        );
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await.map_err(local)?;
        grant_to_owner(connection, name).await?;
        if is_first {
            note_all(connection, name, &key).await?;
        }
    }
    function::retire_earlier(connection).await?;
    Ok(is_lost)
}

/// Who makes a partition makes its trigger, and it is the owner who does.
async fn grant_to_owner(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    let ask = "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class \
               WHERE oid = to_regclass($1) AND relkind = 'p' AND pg_get_userbyid(relowner) <> current_user";
    let owner: Option<String> =
        sqlx::query_scalar(ask).bind(identifier(name)).fetch_optional(&mut *connection).await.map_err(local)?;
    let Some(owner) = owner else { return Ok(()) };
    let grant = format!("GRANT EXECUTE ON FUNCTION {FUNCTION} TO {owner}");
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(connection).await.map(drop).map_err(local)
}

async fn triggers_of(connection: &mut PgConnection, name: &str) -> Result<Vec<Trigger>, Error> {
    let found: Vec<(String, String, bool, bool)> = sqlx::query_as(TRIGGERS)
        .bind([name.as_bytes(), &[0]].concat())
        .bind(identifier(name))
        .bind(FUNCTION)
        .fetch_all(connection)
        .await
        .map_err(local)?;
    let trigger = |(name, on_table, is_here, is_current)| Trigger { name, on_table, is_here, is_current };
    Ok(found.into_iter().map(trigger).collect())
}

/// A table that is captured and has no trigger: it was made anew.
pub(super) async fn made_anew(pool: &PgPool, names: &[String]) -> Result<Option<String>, Error> {
    let ask = "SELECT tbl FROM nudj_captured JOIN unnest($1::text[], $2::text[]) AS asked (name, written) ON name = tbl \
               WHERE to_regclass(written) IS NOT NULL AND NOT EXISTS ( \
                   SELECT FROM pg_trigger WHERE tgrelid = to_regclass(written) AND tgfoid = to_regprocedure($3)) LIMIT 1";
    let written: Vec<String> = names.iter().map(|name| identifier(name)).collect();
    sqlx::query_scalar(ask).bind(names).bind(written).bind(FUNCTION).fetch_optional(pool).await.map_err(local)
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
        .bind(identifier(name))
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
    .bind(identifier(name))
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

/// `schema.table` is two names. Each is taken as it is, with its capitals.
pub(in crate::cdc) fn identifier(name: &str) -> String {
    let parts = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
    parts.collect::<Vec<_>>().join(".")
}

pub(in crate::cdc) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
