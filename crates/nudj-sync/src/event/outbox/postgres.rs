//! [`PostgresOutbox`].

use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Postgres, Transaction};
use tokio::sync::Notify;

use super::OutboxConfig;
use super::row::store;
use crate::Error;

/// `CREATE … IF NOT EXISTS` fails when two run it at the same time; the lock makes them take turns.
const TABLE: &str = "SELECT pg_advisory_xact_lock(7958268361210590);
CREATE TABLE IF NOT EXISTS nudj_sync_outbox (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue TEXT NOT NULL,
    event_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    event_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    state BIGINT NOT NULL DEFAULT 0, -- 0 waiting, 1 dead letter, 2 done
    due_at BIGINT NOT NULL, -- of a leased row: when its lease ends
    attempts BIGINT NOT NULL DEFAULT 0,
    claims BIGINT NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    settled_at BIGINT,
    UNIQUE (queue, event_id)
);
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_waiting ON nudj_sync_outbox (queue, seq) WHERE state = 0;
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_key ON nudj_sync_outbox (queue, event_key, seq) WHERE state <= 1;
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_dead ON nudj_sync_outbox (queue, seq) WHERE state = 1;
CREATE INDEX IF NOT EXISTS nudj_sync_outbox_done ON nudj_sync_outbox (queue, settled_at) WHERE state = 2;";

/// An outbox in PostgreSQL; consumers on any number of machines may share it. Clones are one outbox.
///
/// The order of a key's events is the order in which their transactions publish: from its first publication for a key to its end, a
/// transaction keeps other publishers of that key waiting (`pg_advisory_xact_lock`), or else one that began earlier and committed later
/// would put its event in front of one already handled. A transaction that publishes for several keys does so in the keys' sorted
/// order, as [`publish_all_in`](Self::publish_all_in) does; otherwise PostgreSQL may find two of them waiting for each other and end one.
///
/// Consumers look every `poll_interval`; there is no `NOTIFY`, which takes a lock over all commits.
#[derive(Clone, Debug)]
pub struct PostgresOutbox {
    pool: PgPool,
    config: OutboxConfig,
    wake: Arc<Notify>,
}

impl PostgresOutbox {
    /// Uses a pool of yours, and makes the table `nudj_sync_outbox` in the first schema of its search path.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Store`] when the database cannot be reached or the table not be made.
    pub async fn with_pool(pool: PgPool, config: OutboxConfig) -> Result<Self, Error> {
        config.validate()?;
        let mut transaction = pool.begin().await.map_err(store)?;
        sqlx::raw_sql(TABLE).execute(&mut *transaction).await.map_err(store)?;
        transaction.commit().await.map_err(store)?;
        Ok(Self { pool, config, wake: Arc::default() })
    }

    /// The pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.pool.begin().await.map_err(store)
    }

    /// Publishes several events in a transaction of yours, in the order in which no two transactions wait for each other; those of one
    /// key stay in their order.
    ///
    /// # Errors
    /// As [`publish_in`](Self::publish_in).
    pub async fn publish_all_in(
        &self,
        transaction: &mut PgConnection,
        events: &[crate::event::Event],
    ) -> Result<(), Error> {
        let mut in_turn: Vec<_> = events.iter().collect();
        in_turn.sort_by(|a, b| a.key.cmp(&b.key));
        for event in in_turn {
            self.publish_in(transaction, event).await?;
        }
        Ok(())
    }

    /// Makes publishers of a key take turns until the transaction ends. Two keys with one hash share a turn, which does no harm.
    async fn take_turn(&self, transaction: &mut PgConnection, key: &str) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("nudj_sync_outbox/{}/{key}", self.config.queue))
            .execute(transaction)
            .await
            .map(drop)
            .map_err(store)
    }
}

impl_outbox!(
    PostgresOutbox,
    PgConnection,
    now: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    lock: "FOR UPDATE SKIP LOCKED"
);
