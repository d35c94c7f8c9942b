//! From PostgreSQL, by logical replication, to the mock.

mod acknowledged;
mod faults;
mod keys;
mod proxy;
mod stream;
mod tables;
#[cfg(feature = "cdc-logical-tls")]
mod tls;

use std::time::Duration;

use nudj_mock::MockNudj;
use nudj_sync::cdc::{Batch, Change, ChangeSource as _, LogicalError, LogicalSource, Pipeline};
use sqlx::{Connection as _, PgConnection};

use super::{
    fixture::builder,
    postgres::{Database, cursor, run},
};

/// A database and a slot of their own.
struct Replicated {
    database: Database,
    slot: String,
    /// Held to the end: slots are thrown away, by one of these tests, for the whole server.
    lock: PgConnection,
}

const LOCK: i64 = 7_030_211_904;

impl Replicated {
    async fn new(test: &str) -> Option<Self> {
        Self::locked(test, "SELECT pg_advisory_lock_shared($1)").await
    }

    async fn alone(test: &str) -> Option<Self> {
        Self::locked(test, "SELECT pg_advisory_lock($1)").await
    }

    async fn locked(test: &str, lock: &'static str) -> Option<Self> {
        let database = Database::new(&format!("cdc::logical::{test}")).await?;
        let mut connection = PgConnection::connect(&std::env::var("NUDJ_TEST_POSTGRES_URL").unwrap()).await.unwrap();
        sqlx::query(lock).bind(LOCK).execute(&mut connection).await.unwrap();
        Some(Self { database, slot: format!("nudj_{:016x}", fastrand::u64(..)), lock: connection })
    }

    async fn source(&self) -> LogicalSource {
        source(&self.database.url, &self.slot).await
    }

    async fn start(&self, mock: &MockNudj) -> Pipeline {
        let (_, state) = cursor(&self.database.url).await;
        builder(self.source().await, state, mock).start().unwrap()
    }

    async fn run(&self, sql: &str) {
        run(&self.database.pool, sql).await;
    }

    /// What the slot says in a column.
    async fn slot(&self, column: &str) -> Option<String> {
        let ask = format!("SELECT ({column})::text FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        sqlx::query_scalar(sqlx::AssertSqlSafe(ask)).fetch_one(&self.database.admin).await.unwrap()
    }

    async fn remove(self) {
        let gone = async {
            while self.source().await.remove().await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the slot is let go");
        self.database.remove().await;
        self.lock.close().await.unwrap();
    }
}

/// For the child too.
pub(super) async fn source(url: &str, slot: &str) -> LogicalSource {
    LogicalSource::connect(url, slot, ["users", "challenges"]).await.unwrap().poll_interval(Duration::from_millis(20))
}

/// Reads until `enough`.
async fn read(source: &mut LogicalSource, limit: usize, enough: impl Fn(&[Change], &Batch) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    let reading = async {
        loop {
            let batch = source.next(limit).await.unwrap();
            assert!(batch.changes.len() <= limit);
            changes.extend(batch.changes.clone());
            if enough(&changes, &batch) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it comes");
    changes
}

/// Takes a snapshot to its end.
async fn snapshot(source: &mut LogicalSource) -> Vec<Change> {
    source.begin_snapshot().await.unwrap();
    read(source, 100, |_, batch| batch.snapshot_complete).await
}

fn typed(error: &nudj_sync::Error) -> &LogicalError {
    std::error::Error::source(error).unwrap().downcast_ref().unwrap()
}
