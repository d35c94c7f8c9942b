//! The operations, written once for both databases: sqlx's types are per database, the SQL is the same but for how two
//! claims are kept apart.

/// Implements [`Inbox`](crate::inbox::Inbox) for a type with the fields `pool`, `limits` and `gauges`.
/// `lock` is what the database needs so that two claims never meet. Where receivers have clocks of their own, `free`
/// leaves out what is leased by the database's clock, `lease` notes a lease of `$4` milliseconds, `release` ends it.
macro_rules! impl_inbox {
    ($inbox:ty, lock: $lock:literal, free: $free:literal, lease: $lease:literal, release: $release:literal) => {
        #[async_trait::async_trait]
        impl $crate::inbox::Inbox for $inbox {
            fn is_durable(&self) -> bool {
                true
            }

            async fn record(&self, arrival: $crate::inbox::Arrival) -> Result<$crate::inbox::Recorded, $crate::Error> {
                use $crate::inbox::Recorded;

                let place = self.gauges.place(self.limits.capacity);
                if place.is_none() {
                    // Full, but a repeat must still be answered as one.
                    let known = sqlx::query(
                        "SELECT 1 FROM nudj_webhook_inbox WHERE source = $1 AND (delivery_id = $2 OR body_key = $3)",
                    );
                    let known = known
                        .bind(self.limits.source.clone())
                        .bind(arrival.id)
                        .bind(arrival.body_key)
                        .fetch_optional(&self.pool)
                        .await
                        .map_err($crate::Error::store)?;
                    return Ok(if known.is_some() { Recorded::Duplicate } else { Recorded::Busy });
                }
                let inserted = sqlx::query(
                    "INSERT INTO nudj_webhook_inbox (source, delivery_id, body_key, event, body, received_at, due_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING",
                )
                .bind(self.limits.source.clone())
                .bind(arrival.id)
                .bind(arrival.body_key)
                .bind(arrival.event)
                .bind(arrival.body.to_vec())
                .bind(arrival.received_at)
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                if inserted.rows_affected() == 0 {
                    return Ok(Recorded::Duplicate);
                }
                place.map($crate::inbox::sql::Place::keep);
                Ok(Recorded::New)
            }

            async fn claim(
                &self,
                limit: usize,
                now: i64,
                lease: std::time::Duration,
            ) -> Result<Vec<$crate::inbox::Claimed>, $crate::Error> {
                use sqlx::Row as _;

                let until = now.saturating_add($crate::wall_clock::millis(lease));
                let rows = sqlx::query(concat!(
                    // Materialized: a plan that ran the inner query twice would lock more rows than it returns.
                    "WITH next AS MATERIALIZED (SELECT delivery_id FROM nudj_webhook_inbox WHERE source = $1 ",
                    "AND state = 0 AND due_at <= $2",
                    $free,
                    " ORDER BY due_at LIMIT $3 ",
                    $lock,
                    ") UPDATE nudj_webhook_inbox SET due_at = $2 + $4, attempts = attempts + 1",
                    $lease,
                    " WHERE source = $1 AND delivery_id IN (SELECT delivery_id FROM next) ",
                    "RETURNING delivery_id, body, received_at, attempts, handled",
                ))
                .bind(self.limits.source.clone())
                .bind(now)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .bind(until.saturating_sub(now))
                .fetch_all(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                let claimed = rows.iter().map(|row| {
                    Ok($crate::inbox::Claimed {
                        id: row.try_get("delivery_id")?,
                        body: row.try_get::<Vec<u8>, _>("body")?.into(),
                        received_at: row.try_get("received_at")?,
                        attempt: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
                        handled: $crate::inbox::sql::read_handled(row.try_get("handled")?),
                        lease: until,
                    })
                });
                let mut claimed = claimed.collect::<Result<Vec<_>, _>>().map_err(|error: sqlx::Error| $crate::Error::store(error))?;
                claimed.sort_by_key(|claimed| claimed.received_at);
                Ok(claimed)
            }

            async fn settle(
                &self,
                claimed: &$crate::inbox::Claimed,
                settlement: $crate::inbox::Settlement,
                now: i64,
            ) -> Result<(), $crate::Error> {
                use $crate::inbox::Settlement;
                use $crate::inbox::sql::write_handled;

                let query = |sql| sqlx::query(sql).bind(self.limits.source.clone()).bind(&claimed.id).bind(claimed.lease);
                let (query, moved) = match settlement {
                    Settlement::Done => (query(DONE).bind(now), (-1, 0)),
                    Settlement::Retry { due_at, handled, reason } => {
                        (query(RETRY).bind(due_at).bind(write_handled(&handled)).bind(reason), (0, 0))
                    }
                    Settlement::Release { handled } => (query(RELEASE).bind(now).bind(write_handled(&handled)), (0, 0)),
                    Settlement::Dead { handled, reason } => {
                        (query(DEAD).bind(now).bind(write_handled(&handled)).bind(reason), (-1, 1))
                    }
                };
                let settled = query.execute(&self.pool).await.map_err($crate::Error::store)?;
                if settled.rows_affected() > 0 {
                    self.gauges.move_by(moved.0, moved.1);
                }
                Ok(())
            }

            async fn next_due(&self) -> Result<Option<i64>, $crate::Error> {
                const NEXT: &str =
                    concat!("SELECT min(due_at) FROM nudj_webhook_inbox WHERE source = $1 AND state = 0", $free);
                sqlx::query_scalar(NEXT)
                    .bind(self.limits.source.clone())
                    .fetch_one(&self.pool)
                    .await
                    .map_err($crate::Error::store)
            }

            fn depth(&self) -> u64 {
                self.gauges.pending()
            }

            fn dead_letter_count(&self) -> u64 {
                self.gauges.dead()
            }

            async fn dead_letters(&self, limit: usize) -> Result<Vec<$crate::inbox::DeadLetter>, $crate::Error> {
                use sqlx::Row as _;

                let rows = sqlx::query(
                    "SELECT delivery_id, event, attempts, reason, received_at, settled_at, body FROM nudj_webhook_inbox \
                     WHERE source = $1 AND state = 2 ORDER BY settled_at, delivery_id LIMIT $2",
                )
                .bind(self.limits.source.clone())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                let letters = rows.iter().map(|row| {
                    Ok($crate::inbox::DeadLetter {
                        id: row.try_get("delivery_id")?,
                        event: row.try_get("event")?,
                        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
                        reason: row.try_get("reason")?,
                        received_at: row.try_get("received_at")?,
                        died_at: row.try_get("settled_at")?,
                        body: row.try_get::<Vec<u8>, _>("body")?.into(),
                    })
                });
                letters.collect::<Result<_, _>>().map_err(|error: sqlx::Error| $crate::Error::store(error))
            }

            async fn replay(&self, id: &str, now: i64) -> Result<bool, $crate::Error> {
                let changed = sqlx::query(
                    "UPDATE nudj_webhook_inbox SET state = 0, attempts = 0, due_at = $3, settled_at = 0 \
                     WHERE source = $1 AND delivery_id = $2 AND state = 2",
                )
                .bind(self.limits.source.clone())
                .bind(id)
                .bind(now)
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                let found = changed.rows_affected() > 0;
                if found {
                    self.gauges.move_by(1, -1);
                }
                Ok(found)
            }

            async fn discard(&self, id: &str, now: i64) -> Result<bool, $crate::Error> {
                let changed = sqlx::query(
                    "UPDATE nudj_webhook_inbox SET state = 1, body = '', settled_at = $3 \
                     WHERE source = $1 AND delivery_id = $2 AND state = 2",
                )
                .bind(self.limits.source.clone())
                .bind(id)
                .bind(now)
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                let found = changed.rows_affected() > 0;
                if found {
                    self.gauges.move_by(0, -1);
                }
                Ok(found)
            }

            async fn sweep(&self, now: i64) -> Result<$crate::inbox::Swept, $crate::Error> {
                let source = || self.limits.source.clone();
                let before = |age| now.saturating_sub($crate::wall_clock::millis(age));
                // In portions, so that no sweep holds the table for long; the next one goes on.
                sqlx::query(
                    "DELETE FROM nudj_webhook_inbox WHERE source = $1 AND delivery_id IN (SELECT delivery_id \
                     FROM nudj_webhook_inbox WHERE source = $1 AND state = 1 AND received_at < $2 LIMIT 10000)",
                )
                .bind(source())
                .bind(before(self.limits.retention))
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                sqlx::query(
                    "DELETE FROM nudj_webhook_inbox WHERE source = $1 AND delivery_id IN (SELECT delivery_id \
                     FROM nudj_webhook_inbox WHERE source = $1 AND state = 1 AND received_at < $2 \
                     ORDER BY received_at DESC LIMIT 10000 OFFSET $3)",
                )
                .bind(source())
                .bind(before(self.limits.retention_floor))
                .bind(i64::try_from(self.limits.remembered).unwrap_or(i64::MAX))
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                let dropped = sqlx::query(
                    "UPDATE nudj_webhook_inbox SET state = 1, body = '' WHERE source = $1 AND state = 2 AND delivery_id \
                     IN (SELECT delivery_id FROM nudj_webhook_inbox WHERE source = $1 AND state = 2 \
                     ORDER BY settled_at DESC LIMIT 10000 OFFSET $2)",
                )
                .bind(source())
                .bind(i64::try_from(self.limits.max_dead_letters).unwrap_or(i64::MAX))
                .execute(&self.pool)
                .await
                .map_err($crate::Error::store)?;
                self.count().await?;
                Ok($crate::inbox::Swept { dropped_dead_letters: dropped.rows_affected() })
            }
        }

        impl $inbox {
            /// Counts the rows anew; other receivers change them too.
            async fn count(&self) -> Result<(), $crate::Error> {
                let count = |state: i64| {
                    sqlx::query_scalar("SELECT count(*) FROM nudj_webhook_inbox WHERE source = $1 AND state = $2")
                        .bind(self.limits.source.clone())
                        .bind(state)
                        .fetch_one(&self.pool)
                };
                let pending: i64 = count(0).await.map_err($crate::Error::store)?;
                let dead: i64 = count(2).await.map_err($crate::Error::store)?;
                self.gauges.set(pending, dead);
                Ok(())
            }
        }

        const DONE: &str = "UPDATE nudj_webhook_inbox SET state = 1, body = '', settled_at = $4 \
            WHERE source = $1 AND delivery_id = $2 AND state = 0 AND due_at = $3";
        const RETRY: &str = concat!(
            "UPDATE nudj_webhook_inbox SET due_at = $4, handled = $5, reason = $6",
            $release,
            " WHERE source = $1 AND delivery_id = $2 AND state = 0 AND due_at = $3",
        );
        const RELEASE: &str = concat!(
            "UPDATE nudj_webhook_inbox SET due_at = $4, attempts = attempts - 1, handled = $5",
            $release,
            " WHERE source = $1 AND delivery_id = $2 AND state = 0 AND due_at = $3",
        );
        const DEAD: &str = concat!(
            "UPDATE nudj_webhook_inbox SET state = 2, settled_at = $4, handled = $5, reason = $6",
            $release,
            " WHERE source = $1 AND delivery_id = $2 AND state = 0 AND due_at = $3",
        );
    };
}
