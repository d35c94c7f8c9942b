//! The SQL both engines share; what differs is the pool's type.

macro_rules! impl_state {
    ($state:ident, $lock:literal) => {
        #[async_trait::async_trait]
        impl $crate::cdc::CdcState for $state {
            async fn standing(&self) -> Result<$crate::cdc::Standing, $crate::Error> {
                use sqlx::Row as _;

                let row = sqlx::query(concat!("SELECT position, generation FROM nudj_cdc_streams WHERE stream = $1", $lock))
                    .bind(&self.stream)
                    .fetch_optional(&self.pool)
                    .await
                    .map_err($crate::cdc::state::failed)?;
                let Some(row) = row else { return Ok($crate::cdc::Standing::default()) };
                let position: Option<String> = row.try_get("position").map_err($crate::cdc::state::failed)?;
                Ok($crate::cdc::Standing {
                    position: position.map($crate::cdc::Position::new),
                    generation: row.try_get("generation").map_err($crate::cdc::state::failed)?,
                })
            }

            async fn begin_snapshot(&self) -> Result<$crate::cdc::Standing, $crate::Error> {
                let generation = sqlx::query_scalar(
                    "INSERT INTO nudj_cdc_streams (stream, position, generation) VALUES ($1, NULL, 1) \
                     ON CONFLICT (stream) DO UPDATE SET position = NULL, generation = nudj_cdc_streams.generation + 1 \
                     RETURNING generation",
                )
                .bind(&self.stream)
                .fetch_one(&self.pool)
                .await
                .map_err($crate::cdc::state::failed)?;
                Ok($crate::cdc::Standing { position: None, generation })
            }

            async fn begin(
                &self,
                records: &[$crate::cdc::Beginning],
                generation: i64,
            ) -> Result<Vec<$crate::cdc::Known>, $crate::Error> {
                use sqlx::Row as _;

                let mut transaction = self.pool.begin().await.map_err($crate::cdc::state::failed)?;
                let mut known = Vec::with_capacity(records.len());
                for $crate::cdc::Beginning { record, hint } in records {
                    let row = sqlx::query(BEGIN)
                        .bind(&self.stream)
                        .bind(&record.table)
                        .bind(&record.key)
                        .bind(generation)
                        .bind(hint.as_deref().map(|hint| hint.replace(['\n', '\r'], " ")))
                        .fetch_one(&mut *transaction)
                        .await
                        .map_err($crate::cdc::state::failed)?;
                    let remote_id: Option<String> = row.try_get("remote_id").map_err($crate::cdc::state::failed)?;
                    let times: i64 = row.try_get("times").map_err($crate::cdc::state::failed)?;
                    let letters: i64 = row.try_get("letters").map_err($crate::cdc::state::failed)?;
                    let hints: Option<String> = row.try_get("hints").map_err($crate::cdc::state::failed)?;
                    known.push($crate::cdc::Known {
                        in_doubt: remote_id.is_none() && times > 1,
                        remote_id,
                        hints: $crate::cdc::state::read_hints(hints.as_deref()),
                        buried: letters > 0,
                    });
                }
                transaction.commit().await.map_err($crate::cdc::state::failed)?;
                Ok(known)
            }

            async fn commit(&self, progress: &$crate::cdc::Progress) -> Result<(), $crate::Error> {
                let mut transaction = self.pool.begin().await.map_err($crate::cdc::state::failed)?;
                for (record, remote_id) in &progress.links {
                    let link = if remote_id.is_some() { LINK } else { UNLINK };
                    let query = sqlx::query(link).bind(&self.stream).bind(&record.table).bind(&record.key);
                    let query = if let Some(id) = remote_id { query.bind(id) } else { query };
                    query.execute(&mut *transaction).await.map_err($crate::cdc::state::failed)?;
                }
                for record in &progress.healed {
                    let query = sqlx::query(HEAL).bind(&self.stream).bind(&record.table).bind(&record.key);
                    query.execute(&mut *transaction).await.map_err($crate::cdc::state::failed)?;
                }
                for letter in &progress.buried {
                    let change = serde_json::to_string(&letter.change).map_err($crate::cdc::state::failed)?;
                    sqlx::query(BURY)
                        .bind(&self.stream)
                        .bind(&letter.id)
                        .bind(&letter.change.record.table)
                        .bind(&letter.change.record.key)
                        .bind(&letter.reason)
                        .bind(i64::from(letter.attempts))
                        .bind(letter.died_at)
                        .bind(change)
                        .execute(&mut *transaction)
                        .await
                        .map_err($crate::cdc::state::failed)?;
                }
                if let Some(position) = &progress.position {
                    let query = sqlx::query(MOVE).bind(&self.stream).bind(position.as_str()).bind(progress.generation);
                    query.execute(&mut *transaction).await.map_err($crate::cdc::state::failed)?;
                }
                transaction.commit().await.map_err($crate::cdc::state::failed)
            }

            async fn owner(&self, table: &str, remote_id: &str) -> Result<Option<String>, $crate::Error> {
                sqlx::query_scalar(
                    "SELECT record_key FROM nudj_cdc_links WHERE stream = $1 AND tbl = $2 AND remote_id = $3 LIMIT 1",
                )
                .bind(&self.stream)
                .bind(table)
                .bind(remote_id)
                .fetch_optional(&self.pool)
                .await
                .map_err($crate::cdc::state::failed)
            }

            async fn unseen(
                &self,
                generation: i64,
                after: Option<&$crate::cdc::RecordKey>,
                limit: usize,
            ) -> Result<Vec<$crate::cdc::RecordKey>, $crate::Error> {
                let (table, key) = after.map_or(("", ""), |after| (after.table.as_str(), after.key.as_str()));
                let rows: Vec<(String, String)> = sqlx::query_as(
                    "SELECT tbl, record_key FROM nudj_cdc_links WHERE stream = $1 AND seen < $2 \
                     AND (tbl > $3 OR (tbl = $3 AND record_key > $4)) ORDER BY tbl, record_key LIMIT $5",
                )
                .bind(&self.stream)
                .bind(generation)
                .bind(table)
                .bind(key)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await
                .map_err($crate::cdc::state::failed)?;
                Ok(rows.into_iter().map(|(table, key)| $crate::cdc::RecordKey { table, key }).collect())
            }

            async fn shown(&self, generation: i64) -> Result<Vec<$crate::cdc::Shown>, $crate::Error> {
                // What was begun once and is seen is new.
                let rows: Vec<(String, i64, i64)> = sqlx::query_as(
                    "SELECT tbl, count(CASE WHEN seen < $2 THEN 1 END), count(*) FROM nudj_cdc_links \
                     WHERE stream = $1 AND remote_id IS NOT NULL AND (seen < $2 OR times > 1) GROUP BY tbl ORDER BY tbl",
                )
                .bind(&self.stream)
                .bind(generation)
                .fetch_all(&self.pool)
                .await
                .map_err($crate::cdc::state::failed)?;
                let shown = rows.into_iter().map(|(table, unseen, of)| $crate::cdc::Shown {
                    table,
                    unseen: u64::try_from(unseen).unwrap_or_default(),
                    of: u64::try_from(of).unwrap_or_default(),
                });
                Ok(shown.collect())
            }

            async fn dead_letters(&self, limit: usize) -> Result<Vec<$crate::cdc::DeadLetter>, $crate::Error> {
                let letters = self.letters("SELECT id, reason, attempts, died_at, tbl, record_key, change FROM nudj_cdc_dead_letters \
                              WHERE stream = $1 ORDER BY died_at, id LIMIT $2", limit).await?;
                Ok(letters.into_iter().map(|(letter, _)| letter).collect())
            }

            async fn dead_letter_count(&self) -> Result<u64, $crate::Error> {
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_cdc_dead_letters WHERE stream = $1")
                    .bind(&self.stream)
                    .fetch_one(&self.pool)
                    .await
                    .map_err($crate::cdc::state::failed)?;
                Ok(u64::try_from(count).unwrap_or_default())
            }

            async fn replay(&self, id: &str) -> Result<bool, $crate::Error> {
                let kept = "SELECT change FROM nudj_cdc_dead_letters WHERE stream = $1 AND id = $2";
                let kept: Option<String> = sqlx::query_scalar(kept)
                    .bind(&self.stream)
                    .bind(id)
                    .fetch_optional(&self.pool)
                    .await
                    .map_err($crate::cdc::state::failed)?;
                if let Some(Err(error)) = kept.map(|change| $crate::cdc::lenient::change(&change)) {
                    return Err($crate::Error::corrupt("CDC state", format!("dead letter {id}: {error}; discard it")));
                }
                let changed = sqlx::query("UPDATE nudj_cdc_dead_letters SET asked = 1 WHERE stream = $1 AND id = $2")
                    .bind(&self.stream)
                    .bind(id)
                    .execute(&self.pool)
                    .await
                    .map_err($crate::cdc::state::failed)?;
                Ok(changed.rows_affected() > 0)
            }

            async fn discard(&self, id: &str) -> Result<bool, $crate::Error> {
                let query = sqlx::query(DISCARD).bind(&self.stream).bind(id);
                let changed = query.execute(&self.pool).await.map_err($crate::cdc::state::failed)?;
                Ok(changed.rows_affected() > 0)
            }

            async fn asked_for(&self, limit: usize) -> Result<Vec<$crate::cdc::DeadLetter>, $crate::Error> {
                let letters = self.letters("SELECT id, reason, attempts, died_at, tbl, record_key, change FROM nudj_cdc_dead_letters \
                              WHERE stream = $1 AND asked = 1 ORDER BY died_at, id LIMIT $2", limit).await?;
                Ok(letters.into_iter().filter_map(|(letter, is_readable)| is_readable.then_some(letter)).collect())
            }
        }

        impl $state {
            async fn letters(
                &self,
                sql: &'static str,
                limit: usize,
            ) -> Result<Vec<($crate::cdc::DeadLetter, bool)>, $crate::Error> {
                let rows: Vec<$crate::cdc::state::LetterRow> = sqlx::query_as(sql)
                    .bind(&self.stream)
                    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                    .fetch_all(&self.pool)
                    .await
                    .map_err($crate::cdc::state::failed)?;
                Ok(rows.into_iter().map($crate::cdc::state::read_letter).collect())
            }
        }

        const BEGIN: &str = "INSERT INTO nudj_cdc_links (stream, tbl, record_key, remote_id, seen, times, hints) \
            VALUES ($1, $2, $3, NULL, $4, 1, $5) ON CONFLICT (stream, tbl, record_key) \
            DO UPDATE SET seen = CASE WHEN excluded.seen > nudj_cdc_links.seen THEN excluded.seen ELSE nudj_cdc_links.seen END, times = nudj_cdc_links.times + 1, \
            hints = CASE WHEN nudj_cdc_links.remote_id IS NOT NULL THEN NULL WHEN excluded.hints IS NULL OR length(nudj_cdc_links.hints) > 8000 \
            THEN nudj_cdc_links.hints ELSE COALESCE(nudj_cdc_links.hints || '\n', '') || excluded.hints END \
            RETURNING remote_id, times, hints, \
            (SELECT count(*) FROM nudj_cdc_dead_letters WHERE stream = $1 AND tbl = $2 AND record_key = $3) AS letters";
        const LINK: &str = "INSERT INTO nudj_cdc_links (stream, tbl, record_key, remote_id, seen, times) \
            VALUES ($1, $2, $3, $4, 0, 1) ON CONFLICT (stream, tbl, record_key) DO UPDATE SET remote_id = excluded.remote_id, hints = NULL";
        const UNLINK: &str = "DELETE FROM nudj_cdc_links WHERE stream = $1 AND tbl = $2 AND record_key = $3";
        const HEAL: &str = "DELETE FROM nudj_cdc_dead_letters WHERE stream = $1 AND tbl = $2 AND record_key = $3";
        const DISCARD: &str = "DELETE FROM nudj_cdc_dead_letters WHERE stream = $1 AND id = $2";
        const BURY: &str = "INSERT INTO nudj_cdc_dead_letters (stream, id, tbl, record_key, reason, attempts, died_at, change, asked) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT (stream, id) DO UPDATE SET reason = excluded.reason, \
            attempts = excluded.attempts, change = excluded.change, died_at = excluded.died_at, asked = 0";
        const MOVE: &str = "UPDATE nudj_cdc_streams SET position = $2 WHERE stream = $1 AND generation = $3";
        const TABLES: &str = "CREATE TABLE IF NOT EXISTS nudj_cdc_streams (
                stream TEXT PRIMARY KEY, position TEXT, generation BIGINT NOT NULL);
            CREATE TABLE IF NOT EXISTS nudj_cdc_links (
                stream TEXT NOT NULL, tbl TEXT NOT NULL, record_key TEXT NOT NULL, remote_id TEXT,
                seen BIGINT NOT NULL, -- the generation in which it was last worked on
                times BIGINT NOT NULL, -- how often work on it was begun
                hints TEXT, -- by what it can be found while its id is not known, one a line
                PRIMARY KEY (stream, tbl, record_key));
            CREATE INDEX IF NOT EXISTS nudj_cdc_links_owner ON nudj_cdc_links (stream, tbl, remote_id);
            CREATE TABLE IF NOT EXISTS nudj_cdc_dead_letters (
                stream TEXT NOT NULL, id TEXT NOT NULL, tbl TEXT NOT NULL, record_key TEXT NOT NULL, reason TEXT NOT NULL,
                attempts BIGINT NOT NULL, died_at BIGINT NOT NULL, change TEXT NOT NULL, asked BIGINT NOT NULL,
                PRIMARY KEY (stream, id));
            CREATE INDEX IF NOT EXISTS nudj_cdc_dead_letters_record ON nudj_cdc_dead_letters (stream, tbl, record_key);";
    };
}
