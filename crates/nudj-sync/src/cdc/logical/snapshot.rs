//! Every row as it was where the stream begins.

use std::collections::VecDeque;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{
    catalog::{answer, read, run},
    error::LogicalError,
    place::Place,
    table::{Table, Tables, prints},
};
use crate::cdc::{
    change::{Change, Operation, RecordKey, key_text},
    postgres::{identifier, literal},
    source::Batch,
};

/// A transaction that sees what the slot saw when it was made.
#[derive(Debug)]
pub(super) struct Snapshot {
    connection: PgConnection,
    waiting: VecDeque<Table>,
    open: Option<Table>,
    /// Which transactions it sees, as PostgreSQL writes it.
    pub(super) sees: String,
    /// Where the stream begins.
    pub(super) end: Place,
    /// Of the tables, for that place.
    prints: String,
}

impl Snapshot {
    pub(super) async fn begin(
        options: &PgConnectOptions,
        exported: &str,
        tables: &Tables,
        end: Place,
    ) -> Result<Self, LogicalError> {
        let mut connection = answer(PgConnection::connect_with(options)).await?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; \
             SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off; SET LOCAL lock_timeout = '10s'",
            literal(exported)
        );
        run(&mut connection, begin).await?;
        // All at once, and before they are read one after the other: to a snapshot that is older than a rewriting ALTER TABLE the table is empty.
        let names: Vec<String> = tables.values().map(|table| identifier(&table.name)).collect();
        if !names.is_empty() {
            run(&mut connection, format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "))).await?;
        }
        let sees = answer(sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(&mut connection)).await?;
        let mut waiting: Vec<Table> = tables.values().cloned().collect();
        waiting.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { connection, waiting: waiting.into(), open: None, sees, end, prints: prints(tables) })
    }

    /// At most `limit` rows; with the last of them the snapshot is complete.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Batch, LogicalError> {
        let mut batch = Batch::default();
        while batch.changes.is_empty() {
            let Some(table) = &self.open else {
                let Some(table) = self.waiting.pop_front() else {
                    run(&mut self.connection, "COMMIT".into()).await?;
                    batch.snapshot_complete = true;
                    batch.position = Some(self.end.position(&self.prints));
                    break;
                };
                let name = identifier(&table.name);
                let declare = format!("DECLARE nudj_snapshot NO SCROLL CURSOR FOR SELECT * FROM {name}");
                run(&mut self.connection, declare).await?;
                self.open = Some(table);
                continue;
            };
            let fetch = format!("FETCH {limit} FROM nudj_snapshot");
            for row in answer(sqlx::raw_sql(AssertSqlSafe(fetch)).fetch_all(&mut self.connection)).await? {
                let row = read(&row)?;
                let key: Vec<_> =
                    table.key.iter().map(|(column, _)| row.get(column).cloned().unwrap_or_default()).collect();
                let record = RecordKey { table: table.name.clone(), key: key_text(&key) };
                let operation = Operation::Snapshot;
                batch.changes.push(Change { record, operation, old: None, new: Some(row), position: None });
            }
            if batch.changes.is_empty() {
                run(&mut self.connection, "CLOSE nudj_snapshot".into()).await?;
                self.open = None;
            }
        }
        Ok(batch)
    }
}
