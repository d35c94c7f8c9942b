//! Which rows a claim looks at.
//!
//! It goes by the rows in front, `parked = 0`: those that nobody has found behind another one of their key. What is found behind is parked,
//! once, and the first parked row of a key comes in front again when a row of its key is out of the way. So a claim does not go over
//! whatever waits behind a dead letter, or in a long queue of one key.
//!
//! A row in front may yet be behind another; a claim looks. Only a row that is parked for nothing would wait for ever. Therefore who parks
//! holds a lock on the row before it: who settles that one has done so already, which is seen, or does so afterwards and finds what was
//! parked. What others do to the table (an older version, which knows nothing of this, another policy for dead letters, a hand) is
//! found by the next sweep.

/// The first row of the key of row `e`. Here and below the key is a bound twice and in the order, so that the index of keys is the way to
/// it also where the statistics know of one key only.
macro_rules! first_of_the_key {
    () => {
        "(SELECT o.seq FROM nudj_sync_outbox o WHERE o.queue = e.queue AND o.event_key >= e.event_key AND o.event_key <= e.event_key \
         AND o.state <= 1 AND o.state <= $2 ORDER BY o.event_key, o.seq LIMIT 1)"
    };
}

/// Implements for an outbox what [`impl_outbox`] claims, settles and sweeps with; same parameters.
macro_rules! impl_front {
    ($outbox:ty, $database:ty, $connection:ty, now: $now:literal, lock: $lock:literal, share: $share:literal, front: $front:literal) => {
        impl $outbox {
            /// Claims rows that are the first of their key, of those in front.
            async fn claim_first(
                &self,
                limit: usize,
                lease: std::time::Duration,
            ) -> Result<Vec<<$database as sqlx::Database>::Row>, $crate::Error> {
                use $crate::event::outbox::row;

                let rows = sqlx::query(concat!(
                    // Materialized: a plan that ran the inner query twice would lock more rows than it returns.
                    "WITH next AS MATERIALIZED (SELECT seq FROM (SELECT e.seq, ", first_of_the_key!(), " AS first ",
                    "FROM nudj_sync_outbox AS e ", $front, " WHERE e.queue = $1 AND e.state = 0 AND e.parked = 0 ",
                    "AND e.due_at <= ", $now, " ORDER BY e.seq LIMIT $3 ", $lock, ") AS seen WHERE first = seq LIMIT $4) ",
                    "UPDATE nudj_sync_outbox SET due_at = ", $now, " + $5, attempts = attempts + 1, claims = claims + 1 ",
                    "WHERE seq IN (SELECT seq FROM next) ",
                    "RETURNING seq, event_id, topic, event_key, payload, occurred_at, attempts, claims",
                ));
                let rows = rows.bind(self.config.queue.clone()).bind(self.config.blocking_state()).bind(row::LOOKED_AT);
                let rows = rows.bind(row::limit(limit)).bind(row::millis(lease).max(1));
                rows.fetch_all(&self.pool).await.map_err(row::store)
            }

            /// Parks those of the first rows in front that are behind others; how many.
            async fn park(&self) -> Result<u64, $crate::Error> {
                use $crate::event::outbox::row;

                let parked = sqlx::query(concat!(
                    "WITH seen AS MATERIALIZED (SELECT e.seq, ", first_of_the_key!(), " AS first ",
                    "FROM nudj_sync_outbox AS e ", $front, " WHERE e.queue = $1 AND e.state = 0 AND e.parked = 0 ",
                    "AND e.due_at <= ", $now, " ORDER BY e.seq LIMIT $3 ", $lock, "), ",
                    // From row to row by their numbers, so that no plan multiplies what was seen with itself.
                    "parked AS MATERIALIZED (SELECT s.seq FROM seen s JOIN nudj_sync_outbox o ON o.seq = s.first ",
                    "WHERE s.first < s.seq AND o.state <= 1 AND o.state <= $2 ", $share, ") ",
                    "UPDATE nudj_sync_outbox SET parked = 1 WHERE state = 0 AND parked = 0 AND seq IN (SELECT seq FROM parked)",
                ));
                let parked = parked.bind(self.config.queue.clone()).bind(self.config.blocking_state()).bind(row::LOOKED_AT);
                Ok(parked.execute(&self.pool).await.map_err(row::store)?.rows_affected())
            }

            /// Brings the first parked row of a key in front, when the row of this number no longer stands in its way. In the same transaction,
            /// after that.
            async fn free_next(&self, transaction: &mut $connection, place: i64) -> Result<(), $crate::Error> {
                let freed = sqlx::query(
                    "UPDATE nudj_sync_outbox SET parked = 0 WHERE seq = (SELECT p.seq FROM nudj_sync_outbox p WHERE p.queue = $1 \
                     AND p.event_key >= (SELECT event_key FROM nudj_sync_outbox WHERE seq = $2) \
                     AND p.event_key <= (SELECT event_key FROM nudj_sync_outbox WHERE seq = $2) \
                     AND p.state = 0 AND p.parked = 1 ORDER BY p.event_key, p.seq LIMIT 1)",
                );
                let freed = freed.bind(self.config.queue.clone()).bind(place).execute(transaction).await;
                freed.map(drop).map_err($crate::event::outbox::row::store)
            }

            /// Brings in front what is parked behind nothing; goes from key to key, in portions, so that no statement holds the table for long, and
            /// the next sweep goes on where this one had no more time.
            async fn free_forgotten(&self, sweep: &$crate::event::outbox::sweep::Sweep) -> Result<(), $crate::Error> {
                use $crate::event::outbox::{row, sweep::Sweep};

                let mut after = std::mem::take(&mut *self.swept.lock());
                loop {
                    let last = sqlx::query_scalar::<_, Option<String>>(concat!(
                        "WITH RECURSIVE keys(k, n) AS (SELECT min(event_key), 1 FROM nudj_sync_outbox ",
                        "WHERE queue = $1 AND state = 0 AND parked = 1 AND event_key > $2 ",
                        "UNION ALL SELECT (SELECT min(event_key) FROM nudj_sync_outbox ",
                        "WHERE queue = $1 AND state = 0 AND parked = 1 AND event_key > k), n + 1 FROM keys WHERE k IS NOT NULL AND n < $3) ",
                        "SELECT max(k) FROM keys",
                    ));
                    let last = last.bind(self.config.queue.clone()).bind(after.clone()).bind(Sweep::KEYS);
                    let Some(last) = last.fetch_one(&self.pool).await.map_err(row::store)? else { return Ok(()) };
                    if self.free_forgotten_of(&after, &last).await? > 0 {
                        self.wake();
                    }
                    if !sweep.has_time() {
                        *self.swept.lock() = last;
                        return Ok(());
                    }
                    after = last;
                }
            }

            /// Of the keys behind the first up to the other; how many rows.
            async fn free_forgotten_of(&self, after: &str, last: &str) -> Result<u64, $crate::Error> {
                let freed = sqlx::query(concat!(
                    "WITH RECURSIVE keys(k) AS (SELECT min(event_key) FROM nudj_sync_outbox ",
                    "WHERE queue = $1 AND state = 0 AND parked = 1 AND event_key > $3 AND event_key <= $4 ",
                    "UNION ALL SELECT (SELECT min(event_key) FROM nudj_sync_outbox ",
                    "WHERE queue = $1 AND state = 0 AND parked = 1 AND event_key > k AND event_key <= $4) FROM keys WHERE k IS NOT NULL), ",
                    "firsts AS (SELECT k, (SELECT seq FROM nudj_sync_outbox WHERE queue = $1 AND event_key >= k AND event_key <= k ",
                    "AND state = 0 AND parked = 1 ORDER BY event_key, seq LIMIT 1) AS seq FROM keys WHERE k IS NOT NULL), ",
                    "forgotten AS MATERIALIZED (SELECT p.seq FROM nudj_sync_outbox p WHERE p.parked = 1 AND p.seq IN (SELECT f.seq ",
                    "FROM firsts f WHERE NOT EXISTS (SELECT 1 FROM nudj_sync_outbox o WHERE o.queue = $1 AND o.event_key = f.k ",
                    "AND o.state <= 1 AND o.state <= $2 AND o.seq < f.seq)) ", $lock, ") ",
                    "UPDATE nudj_sync_outbox SET parked = 0 WHERE seq IN (SELECT seq FROM forgotten)",
                ));
                let freed = freed.bind(self.config.queue.clone()).bind(self.config.blocking_state());
                let freed = freed.bind(after.to_owned()).bind(last.to_owned()).execute(&self.pool).await;
                Ok(freed.map_err($crate::event::outbox::row::store)?.rows_affected())
            }
        }
    };
}
