//! Processed ids in a database.

/// `$now` is the database's clock in milliseconds since 1970, `$make` makes the table in a pool's database.
macro_rules! processed_ids {
    ($(#[$doc:meta])* $processed:ident, $pool:ty, $connection:ty, now: $now:literal, make: $make:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $processed {
            pool: $pool,
            retention: std::time::Duration,
        }

        impl $processed {
            /// Uses a pool of yours, makes the table `nudj_sync_processed` where there is none, and remembers for `retention`: longer than an event may
            /// wait, be retried or lie among the dead letters.
            ///
            /// # Errors
            /// [`Error::Store`](crate::Error).
            pub async fn with_pool(pool: $pool, retention: std::time::Duration) -> Result<Self, $crate::Error> {
                $make(&pool).await.map_err(failed)?;
                Ok(Self { pool, retention })
            }

            /// Notes in a transaction of yours, the one that has the handler's effect, that `handler` handled the event; false when it had
            /// before: then roll back, the effect is there already. So effect and note are one, also over a crash.
            ///
            /// Give it a name of its own, such as `bookkeeping`, and another one for another bus's events; the names of a consumer's own notes
            /// are `topic#number`, or `bus/topic#number`.
            ///
            /// # Errors
            /// [`Error::Store`](crate::Error).
            pub async fn record_in(
                &self,
                transaction: &mut $connection,
                handler: &str,
                event_id: &str,
            ) -> Result<bool, $crate::Error> {
                Self::insert(transaction, handler, event_id, &[]).await
            }

            async fn insert(
                connection: &mut $connection,
                handler: &str,
                event_id: &str,
                follow_ups: &[$crate::event::Event],
            ) -> Result<bool, $crate::Error> {
                let follow_ups = serde_json::to_string(follow_ups).map_err(|error| $crate::Error::Local(error.into()))?;
                let inserted = sqlx::query(concat!(
                    "INSERT INTO nudj_sync_processed (handler, event_id, follow_ups, processed_at) VALUES ($1, $2, $3, ", $now,
                    ") ON CONFLICT (handler, event_id) DO NOTHING",
                ));
                let inserted = inserted.bind(handler.to_owned()).bind(event_id.to_owned()).bind(follow_ups);
                Ok(inserted.execute(connection).await.map_err(failed)?.rows_affected() > 0)
            }
        }

        #[async_trait::async_trait]
        impl $crate::event::ProcessedIds for $processed {
            async fn find(
                &self,
                handler: &str,
                event_id: &str,
            ) -> Result<Option<Vec<$crate::event::Event>>, $crate::Error> {
                let found = sqlx::query_scalar::<_, String>(
                    "SELECT follow_ups FROM nudj_sync_processed WHERE handler = $1 AND event_id = $2",
                );
                let found = found.bind(handler.to_owned()).bind(event_id.to_owned());
                let found = found.fetch_optional(&self.pool).await.map_err(failed)?;
                let parse = |text: String| serde_json::from_str(&text);
                found.map(parse).transpose().map_err(|error| {
                    $crate::Error::corrupt("store of processed ids", format!("follow-ups are not events: {error}"))
                })
            }

            async fn record(
                &self,
                handler: &str,
                event_id: &str,
                follow_ups: &[$crate::event::Event],
            ) -> Result<(), $crate::Error> {
                let mut connection = self.pool.acquire().await.map_err(failed)?;
                Self::insert(&mut connection, handler, event_id, follow_ups).await.map(drop)
            }

            async fn sweep(&self) -> Result<(), $crate::Error> {
                use $crate::event::outbox::{row, sweep::Sweep};

                let mut sweep = Sweep::begin();
                while sweep.goes_on() {
                    let deleted = sqlx::query(concat!(
                        "DELETE FROM nudj_sync_processed WHERE (handler, event_id) IN (SELECT handler, event_id ",
                        "FROM nudj_sync_processed WHERE processed_at < ", $now, " - $1 LIMIT $2)",
                    ))
                    .bind(row::millis(self.retention))
                    .bind(Sweep::PORTION);
                    sweep.deleted(deleted.execute(&self.pool).await.map_err(failed)?.rows_affected());
                }
                Ok(())
            }
        }
    };
}

fn failed(source: sqlx::Error) -> crate::Error {
    crate::Error::store("store of processed ids", source)
}

#[cfg(feature = "outbox-sqlite")]
async fn make_in_sqlite(pool: &sqlx::SqlitePool) -> Result<(), sqlx::Error> {
    let table = "CREATE TABLE IF NOT EXISTS nudj_sync_processed (handler TEXT NOT NULL, event_id TEXT NOT NULL, \
                 follow_ups TEXT NOT NULL, processed_at INTEGER NOT NULL, PRIMARY KEY (handler, event_id)); \
                 CREATE INDEX IF NOT EXISTS nudj_sync_processed_age ON nudj_sync_processed (processed_at);";
    let mut transaction = pool.begin().await?;
    sqlx::raw_sql(table).execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(feature = "outbox-postgres")]
async fn make_in_postgres(pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
    use super::tables::{Part, make};

    let parts = [
        Part {
            name: "nudj_sync_processed",
            sql: "CREATE TABLE IF NOT EXISTS nudj_sync_processed (handler TEXT NOT NULL, event_id TEXT NOT NULL, \
                  follow_ups TEXT NOT NULL, processed_at BIGINT NOT NULL, PRIMARY KEY (handler, event_id))",
        },
        Part {
            name: "nudj_sync_processed_age",
            sql: "CREATE INDEX IF NOT EXISTS nudj_sync_processed_age ON nudj_sync_processed (processed_at)",
        },
    ];
    make(pool, 7_958_268_361_210_591, &parts).await
}

#[cfg(feature = "outbox-sqlite")]
processed_ids! {
    /// Processed ids in an SQLite database.
    SqliteProcessed, sqlx::SqlitePool, sqlx::SqliteConnection,
    now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    make: make_in_sqlite
}

#[cfg(feature = "outbox-postgres")]
processed_ids! {
    /// Processed ids in PostgreSQL.
    PostgresProcessed, sqlx::PgPool, sqlx::PgConnection,
    now: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    make: make_in_postgres
}
