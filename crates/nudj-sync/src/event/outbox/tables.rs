//! What a store has in PostgreSQL, made where it is missing.

use sqlx::PgPool;
use sqlx::postgres::PgConnection;

/// A table, an index or a column (`table.column`), and the statement that makes it.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// Makes those of `parts` that are not in the first schema of the search path, in their order. Asks first: also where there is nothing to
/// make, a `CREATE INDEX IF NOT EXISTS` waits for every transaction that writes to the table, and what comes later waits for it.
pub(super) async fn make(pool: &PgPool, lock: i64, parts: &[Part]) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    if missing(&mut connection, parts).await?.is_empty() {
        return Ok(());
    }
    drop(connection);
    let mut transaction = pool.begin().await?;
    // `CREATE … IF NOT EXISTS` fails when two run it at the same time; the lock makes them take turns.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(&mut *transaction).await?;
    for name in missing(&mut transaction, parts).await? {
        if let Some(part) = parts.iter().find(|part| part.name == name) {
            sqlx::raw_sql(part.sql).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

async fn missing(connection: &mut PgConnection, parts: &[Part]) -> Result<Vec<String>, sqlx::Error> {
    let wanted: Vec<&str> = parts.iter().map(|part| part.name).collect();
    sqlx::query_scalar(
        "SELECT name FROM unnest($1) WITH ORDINALITY AS wanted (name, place) WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() \
         WHERE c.relname = split_part(name, '.', 1) AND (split_part(name, '.', 2) = '' OR EXISTS (SELECT 1 \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped \
         AND a.attname = split_part(name, '.', 2)))) ORDER BY place",
    )
    .bind(wanted)
    .fetch_all(connection)
    .await
}
