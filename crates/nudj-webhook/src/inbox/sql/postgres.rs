//! [`PostgresInbox`].

use sqlx::postgres::PgPool;

use super::Gauges;
use crate::Error;
use crate::inbox::Limits;

/// `CREATE … IF NOT EXISTS` fails when two run it at the same time; the lock makes them take turns.
const TABLE: &str = "SELECT pg_advisory_xact_lock(7958268361210589);
CREATE TABLE IF NOT EXISTS nudj_webhook_inbox (
    source TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    body_key TEXT,
    event TEXT NOT NULL,
    body BYTEA NOT NULL,
    state BIGINT NOT NULL DEFAULT 0, -- 0 pending, 1 done, 2 dead letter
    attempts BIGINT NOT NULL DEFAULT 0,
    handled TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    received_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    settled_at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (source, delivery_id),
    UNIQUE (source, body_key)
);
-- `CREATE INDEX IF NOT EXISTS` and `ADD COLUMN IF NOT EXISTS` would lock the table each time, in the way of running
-- receivers.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = 'nudj_webhook_inbox'::regclass AND relname = 'nudj_webhook_inbox_due') THEN
        CREATE INDEX nudj_webhook_inbox_due ON nudj_webhook_inbox (source, due_at) WHERE state = 0;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indrelid = 'nudj_webhook_inbox'::regclass AND relname = 'nudj_webhook_inbox_age') THEN
        CREATE INDEX nudj_webhook_inbox_age ON nudj_webhook_inbox (source, state, received_at);
    END IF;
    -- Came later.
    IF NOT EXISTS (SELECT FROM pg_attribute
            WHERE attrelid = 'nudj_webhook_inbox'::regclass AND attname = 'leased_until') THEN
        ALTER TABLE nudj_webhook_inbox ADD COLUMN leased_until BIGINT NOT NULL DEFAULT 0; -- by the database's clock
    END IF;
END $$;";

/// Keeps deliveries in PostgreSQL; several receivers may share the table, and each delivery is handled by one of them,
/// however far their clocks are apart: leases run by the database's.
///
/// The pool's `acquire_timeout` is how long a request waits for a connection before it is answered 503: set it well
/// below the sender's patience (10 to 30 s).
#[derive(Clone, Debug)]
pub struct PostgresInbox {
    pool: PgPool,
    limits: Limits,
    gauges: std::sync::Arc<Gauges>,
}

impl PostgresInbox {
    /// Uses a pool of yours, and makes the table `nudj_webhook_inbox` in the first schema of its search path.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be reached or the table not be made.
    pub async fn with_pool(pool: PgPool, limits: impl Into<Limits>) -> Result<Self, Error> {
        let mut transaction = pool.begin().await.map_err(Error::store)?;
        sqlx::raw_sql(TABLE).execute(&mut *transaction).await.map_err(Error::store)?;
        transaction.commit().await.map_err(Error::store)?;
        let inbox = Self { pool, limits: limits.into(), gauges: std::sync::Arc::default() };
        inbox.count().await?;
        Ok(inbox)
    }
}

// `due_at` is still moved: it tells leases apart, and a receiver of an older version knows no other.
impl_inbox!(
    PostgresInbox,
    lock: "FOR UPDATE SKIP LOCKED",
    free: " AND leased_until <= (extract(epoch FROM statement_timestamp()) * 1000)::bigint",
    lease: ", leased_until = (extract(epoch FROM statement_timestamp()) * 1000)::bigint + $4",
    release: ", leased_until = 0"
);
