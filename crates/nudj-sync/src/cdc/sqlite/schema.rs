//! The change table and its triggers.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::local;
use crate::Error;

pub(super) const INSERTED: &str = "I";
pub(super) const UPDATED: &str = "U";
pub(super) const DELETED: &str = "D";
pub(super) const SNAPSHOT: &str = "S";
pub(super) const SNAPSHOT_ENDS: &str = "E";

/// `AUTOINCREMENT`: a number is never given twice, though rows are deleted.
const CHANGES: &str = "CREATE TABLE IF NOT EXISTS nudj_changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    tbl TEXT NOT NULL,
    op TEXT NOT NULL,
    record_key TEXT NOT NULL, -- a JSON array of the key's columns
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
)";

/// The tables that are captured. Their triggers go with them when they are made anew, and nothing else would say that they ever had any.
const CAPTURED: &str = "CREATE TABLE IF NOT EXISTS nudj_captured (tbl TEXT NOT NULL PRIMARY KEY)";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    name: String,
    /// The key's columns in their order.
    pub(super) key: Vec<String>,
}

impl Table {
    /// `json_array("a", "b")` of `NEW`, `OLD` or the table itself. It must not fail, which would be the application's own write failing:
    /// JSON has no bytes, and a column of any type may hold some, nor infinity. By itself it would round a REAL to 15 digits, which name
    /// another, and its 17th is not always right.
    fn key_of(&self, row: &str) -> String {
        let columns = self.key.iter().map(|column| {
            let column = format!("{row}{}", identifier(column));
            let real = format!("json(replace(printf('%!.20g', {column}), 'Inf', '9e999'))");
            format!(
                "CASE typeof({column}) WHEN 'blob' THEN lower(hex({column})) WHEN 'real' THEN {real} ELSE {column} END"
            )
        });
        format!("json_array({})", columns.collect::<Vec<_>>().join(", "))
    }

    /// The row that the note with the number `?1` names. SQLite compares what it wrote itself: text in a key need not be UTF-8.
    pub(super) fn select_one(&self) -> String {
        let equal = self.key.iter().enumerate().map(|(at, column)| {
            let noted = format!("json_extract((SELECT record_key FROM nudj_changes WHERE seq = ?1), '$[{at}]')");
            format!("{} IN ({noted}, unhex({noted}))", identifier(column))
        });
        format!("SELECT * FROM {} WHERE {}", identifier(&self.name), equal.collect::<Vec<_>>().join(" AND "))
    }

    fn note(&self, op: &str, row: &str) -> String {
        let (name, key) = (literal(&self.name), self.key_of(row));
        format!("INSERT INTO nudj_changes (tbl, op, record_key) VALUES ({name}, '{op}', {key});")
    }

    fn triggers(&self) -> [(String, String); 3] {
        let (inserted, updated, deleted) =
            (self.note(INSERTED, "NEW."), self.note(UPDATED, "NEW."), self.note(DELETED, "OLD."));
        let (old, new) = (self.key_of("OLD."), self.key_of("NEW."));
        // A row that gets another key is another record.
        let renamed = format!(
            "INSERT INTO nudj_changes (tbl, op, record_key) SELECT {0}, '{DELETED}', {old} WHERE {old} <> {new};",
            literal(&self.name)
        );
        let trigger = |event: &str, body: String| {
            let name = format!("nudj_cdc_{}_{}", self.name, event.to_lowercase());
            let create = format!(
                "CREATE TRIGGER {} AFTER {event} ON {} BEGIN {body} END",
                identifier(&name),
                identifier(&self.name)
            );
            (name, create)
        };
        [trigger("INSERT", inserted), trigger("UPDATE", format!("{renamed} {updated}")), trigger("DELETE", deleted)]
    }

    fn note_all(&self) -> String {
        let (name, key) = (literal(&self.name), self.key_of(""));
        format!(
            "INSERT INTO nudj_changes (tbl, op, record_key) SELECT {name}, '{SNAPSHOT}', {key} FROM {}",
            identifier(&self.name)
        )
    }
}

/// What there is to be captured.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) tables: BTreeMap<String, Table>,
    /// A table that was captured before and has changed unseen since: made anew, given another key, or left out for a while. A note for each
    /// of its rows would not tell of those that are gone.
    pub(super) changed_unseen: Option<String>,
}

/// Makes what is missing. A table that is captured for the first time gets triggers, and a note for each of its rows.
pub(super) async fn install(connection: &mut SqliteConnection, names: &[String]) -> Result<Installed, Error> {
    // A file of an earlier version does not say which tables were captured.
    let tells: bool = sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE name = 'nudj_changes') <= count(*) FILTER (WHERE name = 'nudj_captured') \
         FROM sqlite_master WHERE type = 'table'",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(local)?;
    for create in [CHANGES, CAPTURED] {
        sqlx::query(create).execute(&mut *connection).await.map_err(local)?;
    }
    // What is left out from here on is told to nobody.
    sqlx::query("DELETE FROM nudj_captured WHERE tbl NOT IN (SELECT value FROM json_each(?))")
        .bind(serde_json::Value::from(names).to_string())
        .execute(&mut *connection)
        .await
        .map_err(local)?;
    let mut installed = Installed { tables: BTreeMap::new(), changed_unseen: None };
    for name in names {
        let Some(table) = describe(connection, name).await? else { continue };
        let marked = sqlx::query("INSERT OR IGNORE INTO nudj_captured VALUES (?)").bind(name).execute(&mut *connection);
        let is_marked = marked.await.map_err(local)?.rows_affected() == 0;
        let triggers = make_triggers(connection, &table).await?;
        match triggers {
            Triggers::AsWanted if is_marked || !tells => {}
            Triggers::Missing if !is_marked && tells => {
                sqlx::query(AssertSqlSafe(table.note_all())).execute(&mut *connection).await.map_err(local)?;
            }
            _ => installed.changed_unseen = Some(name.clone()),
        }
        installed.tables.insert(name.clone(), table);
    }
    Ok(installed)
}

/// How a table's triggers were found.
enum Triggers {
    AsWanted,
    Missing,
    /// In part, or for another key or another table of that name.
    Other,
}

async fn make_triggers(connection: &mut SqliteConnection, table: &Table) -> Result<Triggers, Error> {
    let (mut found, mut wanted) = (0, 0);
    for (trigger, create) in table.triggers() {
        let there: Option<String> =
            sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?")
                .bind(&trigger)
                .fetch_optional(&mut *connection)
                .await
                .map_err(local)?;
        if there.as_deref() == Some(create.as_str()) {
            wanted += 1;
            continue;
        }
        if there.is_some() {
            found += 1;
            let drop = format!("DROP TRIGGER {}", identifier(&trigger));
            sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await.map_err(local)?;
        }
        sqlx::query(AssertSqlSafe(create)).execute(&mut *connection).await.map_err(local)?;
    }
    Ok(match (found, wanted) {
        (0, 3) => Triggers::AsWanted,
        (0, 0) => Triggers::Missing,
        _ => Triggers::Other,
    })
}

/// Notes every row, and the end of them, in place of what was noted.
pub(super) async fn note_all(connection: &mut SqliteConnection, tables: &BTreeMap<String, Table>) -> Result<(), Error> {
    sqlx::query("DELETE FROM nudj_changes").execute(&mut *connection).await.map_err(local)?;
    for table in tables.values() {
        sqlx::query(AssertSqlSafe(table.note_all())).execute(&mut *connection).await.map_err(local)?;
    }
    let end = sqlx::query("INSERT INTO nudj_changes (tbl, op, record_key) VALUES ('', ?, '[]')").bind(SNAPSHOT_ENDS);
    end.execute(connection).await.map(drop).map_err(local)
}

async fn describe(connection: &mut SqliteConnection, name: &str) -> Result<Option<Table>, Error> {
    let columns = sqlx::query("SELECT name, pk FROM pragma_table_info(?) ORDER BY pk")
        .bind(name)
        .fetch_all(connection)
        .await
        .map_err(local)?;
    if columns.is_empty() {
        return Ok(None);
    }
    let mut key = Vec::new();
    for column in columns {
        if column.try_get::<i64, _>("pk").map_err(local)? == 0 {
            continue;
        }
        let column: String = column.try_get("name").map_err(local)?;
        key.push(column);
    }
    if key.is_empty() {
        return Err(unusable(name, "it has no primary key; declare one"));
    }
    Ok(Some(Table { name: name.to_owned(), key }))
}

fn unusable(table: &str, problem: &str) -> Error {
    Error::Local(format!("table {table} cannot be captured: {problem}").into())
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
