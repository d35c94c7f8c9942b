use sqlx::postgres::PgPool;

use super::failed;
use crate::Error;

/// Keeps the state in PostgreSQL: the tables `nudj_cdc_streams`, `nudj_cdc_links` and `nudj_cdc_dead_letters`.
#[derive(Clone, Debug)]
pub struct PostgresState {
    pool: PgPool,
    stream: String,
}

impl PostgresState {
    /// Uses a pool of yours and makes the tables in the first schema of its search path. One pipeline has one `stream`; do not
    /// run two of the same.
    ///
    /// # Errors
    /// [`Error::Store`] when the database cannot be reached or the tables not be made.
    pub async fn with_pool(pool: PgPool, stream: impl Into<String>) -> Result<Self, Error> {
        let mut transaction = pool.begin().await.map_err(failed)?;
        // `CREATE … IF NOT EXISTS` fails when two run it at the same time; the lock makes them take turns.
        sqlx::raw_sql("SELECT pg_advisory_xact_lock(6021954273914856213)")
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        sqlx::raw_sql(TABLES).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Self { pool, stream: stream.into() })
    }
}

// The server may still be at the commit of a process that was killed. A position read before it would be behind the one it leaves,
// and who dies between the two leaves records as they were.
impl_state!(PostgresState, " FOR UPDATE");
