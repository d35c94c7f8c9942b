//! [`PostgresOutbox`].

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Postgres, Transaction};
use tokio::sync::Notify;

use super::OutboxConfig;
use super::row::store;
use super::tables::{Part, make};
use crate::{Error, event::Event};

/// Who makes the table holds this lock.
const MAKING: i64 = 7_958_268_361_210_590;

/// Publishers of a key hold one of these locks, from this number on. So many and no more: the server has room for some thousands, and one
/// transaction may publish for any number of keys.
const TURNS: i64 = 7_958_268_361_300_000;
const TURNS_COUNT: u16 = 1024;

const TABLE: [Part; 8] = [
    Part {
        name: "nudj_sync_outbox",
        sql: "CREATE TABLE IF NOT EXISTS nudj_sync_outbox (
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
            parked BIGINT NOT NULL DEFAULT 0, -- 1: behind another row of its key
            UNIQUE (queue, event_id)
        )",
    },
    // A table of an earlier version has no such column.
    Part {
        name: "nudj_sync_outbox.parked",
        sql: "ALTER TABLE nudj_sync_outbox ADD COLUMN IF NOT EXISTS parked BIGINT NOT NULL DEFAULT 0",
    },
    Part {
        name: "nudj_sync_outbox_waiting",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_waiting ON nudj_sync_outbox (queue, seq) WHERE state = 0",
    },
    Part {
        name: "nudj_sync_outbox_key",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_key ON nudj_sync_outbox (queue, event_key, seq) WHERE state <= 1",
    },
    Part {
        name: "nudj_sync_outbox_dead",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_dead ON nudj_sync_outbox (queue, seq) WHERE state = 1",
    },
    Part {
        name: "nudj_sync_outbox_done",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_done ON nudj_sync_outbox (queue, settled_at) WHERE state = 2",
    },
    Part {
        name: "nudj_sync_outbox_front",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_front ON nudj_sync_outbox (queue, seq) \
              WHERE state = 0 AND parked = 0",
    },
    Part {
        name: "nudj_sync_outbox_parked",
        sql: "CREATE INDEX IF NOT EXISTS nudj_sync_outbox_parked ON nudj_sync_outbox (queue, event_key, seq) \
              WHERE state = 0 AND parked = 1",
    },
];

/// An outbox in PostgreSQL; consumers on any number of machines may share it. Clones are one outbox.
///
/// The order of a key's events is the order in which their transactions publish: from its first publication for a key to its end, a
/// transaction keeps other publishers of that key waiting (`pg_advisory_xact_lock`), or else one that began earlier and committed later
/// would put its event in front of one already handled. The keys share 1024 locks. A transaction that publishes for several keys does so in
/// one call of [`publish_all_in`](Self::publish_all_in), which takes its locks in order; otherwise PostgreSQL may find two of them waiting
/// for each other and end one.
///
/// Consumers look every `poll_interval`; there is no `NOTIFY`, which takes a lock over all commits.
#[derive(Clone, Debug)]
pub struct PostgresOutbox {
    pool: PgPool,
    config: OutboxConfig,
    wake: Arc<Notify>,
    /// Up to which key the last sweep came.
    swept: Arc<Mutex<String>>,
}

impl PostgresOutbox {
    /// Uses a pool of yours, and makes what is missing of the table `nudj_sync_outbox` in the first schema of its search path. Where all is
    /// there, it locks nothing and needs no right to make tables. The first start after an update may add a column and indexes, which waits
    /// for the transactions that are open on the table and lets others wait meanwhile. Publishers of the version before take turns by other locks: where the
    /// order of a key's events counts, stop them before the first new one starts.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Store`] when the database cannot be reached or the table not be made.
    pub async fn with_pool(pool: PgPool, config: OutboxConfig) -> Result<Self, Error> {
        config.validate()?;
        make(&pool, MAKING, &TABLE).await.map_err(store)?;
        Ok(Self { pool, config, wake: Arc::default(), swept: Arc::default() })
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

    /// Publishes several events in a transaction of yours, in their order. No two transactions that publish by one such call each wait for
    /// each other, however many keys the events have.
    ///
    /// # Errors
    /// As [`publish_in`](Self::publish_in).
    pub async fn publish_all_in(&self, transaction: &mut PgConnection, events: &[Event]) -> Result<(), Error> {
        self.insert_all(transaction, events).await?;
        self.wake();
        Ok(())
    }

    /// Makes publishers of these keys take turns until the transaction ends. Two keys with one lock share a turn, which does no harm.
    async fn take_turns(&self, transaction: &mut PgConnection, events: &[&Event]) -> Result<(), Error> {
        let turns: BTreeSet<i64> = events.iter().map(|event| turn(&self.config.queue, &event.key)).collect();
        sqlx::query("SELECT pg_advisory_xact_lock(turn) FROM unnest($1) AS turn")
            .bind(Vec::from_iter(turns))
            .execute(transaction)
            .await
            .map(drop)
            .map_err(store)
    }
}

/// The same in every process and version.
fn turn(queue: &str, key: &str) -> i64 {
    let digest = Sha256::digest(format!("{queue}/{key}"));
    TURNS + i64::from(u16::from_be_bytes([digest[0], digest[1]]) % TURNS_COUNT)
}

impl_outbox!(
    PostgresOutbox,
    Postgres,
    PgConnection,
    now: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    lock: "FOR UPDATE SKIP LOCKED",
    share: "FOR SHARE OF o SKIP LOCKED",
    front: ""
);
