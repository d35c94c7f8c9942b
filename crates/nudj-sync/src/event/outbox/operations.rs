//! The operations, written once for both databases: sqlx's types are per database, the SQL is the same but for the clock, the lock of a
//! claim and the order of publications.

/// What [`replayed`](crate::event::schedule::replayed) says, in SQL.
macro_rules! attempts_replayed {
    () => {
        "CAST(CASE WHEN attempts > 0 THEN 1 ELSE 0 END AS BIGINT)"
    };
}

/// Implements [`EventBus`](crate::event::EventBus) for a type with the fields `pool`, `config` and `wake`, whose `take_turns` puts the
/// publishers of a key in order. `$now` is the database's clock in milliseconds since 1970, `$lock` what it needs so that two claims never
/// meet, `$share` so that a row is not settled meanwhile, `$front` the index that claims go by, where the database must be told.
macro_rules! impl_outbox {
    ($outbox:ty, $database:ty, $connection:ty, now: $now:literal, lock: $lock:literal, share: $share:literal, front: $front:literal) => {
        impl $outbox {
            /// Publishes in a transaction of yours: the event is there exactly when the transaction is committed. A repeated id is a
            /// [`Duplicate`](crate::event::Published) and changes nothing.
            ///
            /// Consumers in this process are woken at once and may look too early; [`wake`](Self::wake) them after the commit, or let
            /// them find the event at their next look ([`ConsumerConfig::poll_interval`](crate::event::ConsumerConfig)).
            ///
            /// # Errors
            /// [`Error::Config`](crate::Error) for an event that no bus carries, [`Error::Store`](crate::Error).
            pub async fn publish_in(
                &self,
                transaction: &mut $connection,
                event: &$crate::event::Event,
            ) -> Result<$crate::event::Published, $crate::Error> {
                event.check()?;
                let published = self.insert(transaction, event).await?;
                self.wake();
                Ok(published)
            }

            /// Tells consumers in this process that something was committed.
            pub fn wake(&self) {
                self.wake.notify_one();
            }

            async fn insert(
                &self,
                transaction: &mut $connection,
                event: &$crate::event::Event,
            ) -> Result<$crate::event::Published, $crate::Error> {
                use $crate::event::{Published, outbox::row};

                self.take_turns(transaction, &[event]).await?;
                let inserted = sqlx::query(concat!(
                    "INSERT INTO nudj_sync_outbox (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at) ",
                    "VALUES ($1, $2, $3, $4, $5, $6, ", $now, ", 0) ON CONFLICT (queue, event_id) DO NOTHING",
                ))
                .bind(self.config.queue.clone())
                .bind(event.id.clone())
                .bind(event.topic.clone())
                .bind(event.key.clone())
                .bind(row::payload(event))
                .bind(event.occurred_at)
                .execute(transaction)
                .await
                .map_err(row::store)?;
                Ok(if inserted.rows_affected() == 0 { Published::Duplicate } else { Published::New })
            }

            /// Any number in few statements, in the order given; what was published before stays as it is.
            async fn insert_all(
                &self,
                transaction: &mut $connection,
                events: &[$crate::event::Event],
            ) -> Result<(), $crate::Error> {
                use $crate::event::outbox::row;

                if events.is_empty() {
                    return Ok(());
                }
                events.iter().try_for_each($crate::event::Event::check)?;
                self.take_turns(transaction, &events.iter().collect::<Vec<_>>()).await?;
                for portion in events.chunks(row::INSERTED_AT_ONCE) {
                    let mut sql = sqlx::QueryBuilder::<$database>::new(
                        "INSERT INTO nudj_sync_outbox (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at) ",
                    );
                    sql.push_values(portion, |mut values, event| {
                        values.push_bind(self.config.queue.clone());
                        values.push_bind(event.id.clone());
                        values.push_bind(event.topic.clone());
                        values.push_bind(event.key.clone());
                        values.push_bind(row::payload(event));
                        values.push_bind(event.occurred_at);
                        values.push($now);
                        values.push("0");
                    });
                    sql.push(" ON CONFLICT (queue, event_id) DO NOTHING");
                    sql.build().persistent(false).execute(&mut *transaction).await.map_err(row::store)?;
                }
                Ok(())
            }
        }

        impl_front!($outbox, $database, $connection, now: $now, lock: $lock, share: $share, front: $front);

        #[async_trait::async_trait]
        impl $crate::event::EventBus for $outbox {
            /// The queue; empty for the default one.
            fn name(&self) -> std::borrow::Cow<'_, str> {
                std::borrow::Cow::Borrowed(self.config.note_name())
            }

            async fn publish(&self, event: &$crate::event::Event) -> Result<$crate::event::Published, $crate::Error> {
                use $crate::event::outbox::row;

                let mut transaction = self.begin().await?;
                let published = self.publish_in(&mut transaction, event).await?;
                transaction.commit().await.map_err(row::store)?;
                self.wake();
                Ok(published)
            }

            async fn claim(
                &self,
                limit: usize,
                lease: std::time::Duration,
            ) -> Result<Vec<$crate::event::Claimed>, $crate::Error> {
                use sqlx::Row as _;
                use $crate::event::{Claimed, outbox::row};

                let mut rows = Vec::new();
                let mut is_all_seen = false;
                for _ in 0..row::LOOKS {
                    rows = self.claim_first(limit, lease).await?;
                    if rows.len() >= limit {
                        is_all_seen = true;
                        break;
                    }
                    is_all_seen = match self.park().await {
                        Ok(parked) => parked == 0,
                        // What is claimed is handled all the same.
                        Err(error) if !rows.is_empty() => {
                            tracing::warn!(error = &error as &dyn std::error::Error, "the outbox could not put aside what waits for others");
                            true
                        }
                        Err(error) => return Err(error),
                    };
                    if is_all_seen || !rows.is_empty() {
                        break;
                    }
                }
                if !is_all_seen {
                    // There may be more behind what was put aside.
                    self.wake();
                }
                let mut claimed = Vec::with_capacity(rows.len());
                for found in &rows {
                    let number = |column| found.try_get(column).map_err(row::store);
                    let (place, lease) = (number("seq")?, number("claims")?);
                    match row::event(found, row::parsed) {
                        Ok(event) => claimed.push(Claimed {
                            event,
                            attempt: row::attempts(number("attempts")?),
                            place: row::number(place),
                            lease: row::number(lease),
                        }),
                        // The others are handled all the same.
                        Err(error) => self.give_up_row(place, lease, &error).await,
                    }
                }
                Ok(claimed)
            }

            async fn settle(
                &self,
                claimed: &$crate::event::Claimed,
                settlement: &$crate::event::Settlement,
            ) -> Result<bool, $crate::Error> {
                use $crate::event::{Settlement, outbox::row};

                let (sql, after, reason) = match settlement {
                    Settlement::Done(_) => (DONE, 0, ""),
                    Settlement::Retry { after, reason } => (RETRY, row::millis(*after), reason.as_str()),
                    Settlement::Release => (RELEASE, 0, ""),
                    Settlement::Dead { reason } => (DEAD, 0, reason.as_str()),
                };
                let mut transaction = self.begin().await?;
                let settled = sqlx::query(sql)
                    .bind(row::key(claimed.place))
                    .bind(row::key(claimed.lease))
                    .bind(after)
                    .bind(reason.to_owned())
                    .execute(&mut *transaction)
                    .await
                    .map_err(row::store)?;
                if settled.rows_affected() == 0 {
                    return Ok(false);
                }
                let is_out_of_the_way = match settlement {
                    Settlement::Done(_) => true,
                    Settlement::Dead { .. } => self.config.after_dead_letter == $crate::event::AfterDeadLetter::Pass,
                    Settlement::Retry { .. } | Settlement::Release => false,
                };
                if is_out_of_the_way {
                    self.free_next(&mut transaction, row::key(claimed.place)).await?;
                }
                if let Settlement::Done(follow_ups) = settlement {
                    self.insert_all(&mut transaction, follow_ups).await?;
                }
                transaction.commit().await.map_err(row::store)?;
                self.wake();
                Ok(true)
            }

            async fn changed(&self, at_most: std::time::Duration) {
                let _ = tokio::time::timeout(at_most, self.wake.notified()).await;
            }

            async fn lag(&self) -> Result<$crate::event::Lag, $crate::Error> {
                use sqlx::Row as _;
                use $crate::event::{Lag, outbox::row};

                let found = sqlx::query(concat!(
                    "SELECT count(*) AS waiting, ", $now, " - min(published_at) AS age, ",
                    "(SELECT count(*) FROM nudj_sync_outbox WHERE queue = $1 AND state = 1) AS dead ",
                    "FROM nudj_sync_outbox WHERE queue = $1 AND state = 0",
                ))
                .bind(self.config.queue.clone())
                .fetch_one(&self.pool)
                .await
                .map_err(row::store)?;
                let age: Option<i64> = found.try_get("age").map_err(row::store)?;
                Ok(Lag {
                    waiting: row::number(found.try_get("waiting").map_err(row::store)?),
                    oldest_age: age.map(|age| std::time::Duration::from_millis(row::number(age))),
                    dead_letters: row::number(found.try_get("dead").map_err(row::store)?),
                })
            }

            async fn dead_letters(&self, limit: usize) -> Result<Vec<$crate::event::DeadLetter>, $crate::Error> {
                use sqlx::Row as _;
                use $crate::event::{DeadLetter, outbox::row};

                let rows = sqlx::query(
                    "SELECT event_id, topic, event_key, payload, occurred_at, attempts, reason FROM nudj_sync_outbox \
                     WHERE queue = $1 AND state = 1 ORDER BY seq LIMIT $2",
                )
                .bind(self.config.queue.clone())
                .bind(row::limit(limit))
                .fetch_all(&self.pool)
                .await
                .map_err(row::store)?;
                let mut letters = Vec::with_capacity(rows.len());
                for found in &rows {
                    let event = row::event(found, row::shown)?;
                    let attempts = row::attempts(found.try_get("attempts").map_err(row::store)?);
                    let reason = found.try_get("reason").map_err(row::store)?;
                    letters.push(DeadLetter { event, attempts, reason });
                }
                Ok(letters)
            }

            async fn replay(&self, id: &str) -> Result<bool, $crate::Error> {
                use $crate::event::{AfterDeadLetter, outbox::row};

                let found = match self.config.after_dead_letter {
                    // Those behind it waited, so it keeps its place. Whoever gave it up and says so again has no claim to it any more.
                    AfterDeadLetter::Hold => {
                        let replayed = sqlx::query(
                            concat!(
                                "UPDATE nudj_sync_outbox SET state = 0, parked = 0, due_at = 0, settled_at = NULL, claims = claims + 1, attempts = ",
                                attempts_replayed!(),
                                " WHERE queue = $1 AND event_id = $2 AND state = 1",
                            ),
                        );
                        let replayed = replayed.bind(self.config.queue.clone()).bind(id.to_owned());
                        replayed.execute(&self.pool).await.map_err(row::store)?.rows_affected() > 0
                    }
                    AfterDeadLetter::Pass => self.move_to_the_end(id).await?,
                };
                self.wake();
                Ok(found)
            }

            async fn discard(&self, id: &str) -> Result<bool, $crate::Error> {
                use $crate::event::outbox::row;

                let mut transaction = self.begin().await?;
                let discarded = sqlx::query_scalar::<_, i64>(concat!(
                    "UPDATE nudj_sync_outbox SET state = 2, payload = 'null', settled_at = ", $now,
                    " WHERE queue = $1 AND event_id = $2 AND state = 1 RETURNING seq",
                ));
                let discarded = discarded.bind(self.config.queue.clone()).bind(id.to_owned());
                let place = discarded.fetch_optional(&mut *transaction).await.map_err(row::store)?;
                if let Some(place) = place {
                    self.free_next(&mut transaction, place).await?;
                }
                transaction.commit().await.map_err(row::store)?;
                self.wake();
                Ok(place.is_some())
            }

            async fn sweep(&self) -> Result<(), $crate::Error> {
                use $crate::event::outbox::{row, sweep::Sweep};

                let mut sweep = Sweep::begin();
                while sweep.goes_on() {
                    let deleted = sqlx::query(concat!(
                        "DELETE FROM nudj_sync_outbox WHERE seq IN (SELECT seq FROM nudj_sync_outbox ",
                        "WHERE queue = $1 AND state = 2 AND settled_at < ", $now, " - $2 LIMIT $3)",
                    ))
                    .bind(self.config.queue.clone())
                    .bind(row::millis(self.config.retention))
                    .bind(Sweep::PORTION);
                    sweep.deleted(deleted.execute(&self.pool).await.map_err(row::store)?.rows_affected());
                }
                self.free_forgotten(&sweep).await
            }
        }

        impl $outbox {
            /// Makes a dead letter of a row that cannot be read. Where that fails, its next claim does it.
            async fn give_up_row(&self, place: i64, lease: i64, error: &$crate::Error) {
                let reason = error.to_string();
                tracing::error!(place, reason = ?reason, "event given up, since it cannot be read");
                let dead = sqlx::query(DEAD).bind(place).bind(lease).bind(0_i64).bind(reason);
                let given_up = async {
                    let mut transaction = self.begin().await?;
                    dead.execute(&mut *transaction).await.map_err($crate::event::outbox::row::store)?;
                    if self.config.after_dead_letter == $crate::event::AfterDeadLetter::Pass {
                        self.free_next(&mut transaction, place).await?;
                    }
                    transaction.commit().await.map_err($crate::event::outbox::row::store)
                };
                if let Err(error) = given_up.await {
                    tracing::warn!(place, error = &error as &dyn std::error::Error, "it could not be put among the dead letters yet");
                }
            }

            /// With a new number, behind everything of its key.
            async fn move_to_the_end(&self, id: &str) -> Result<bool, $crate::Error> {
                use sqlx::Row as _;

                use $crate::event::outbox::row;

                let mut transaction = self.begin().await?;
                let taken = sqlx::query(
                    concat!(
                        "DELETE FROM nudj_sync_outbox WHERE queue = $1 AND event_id = $2 AND state = 1 ",
                        "RETURNING event_id, topic, event_key, payload, occurred_at, ",
                        attempts_replayed!(),
                        " AS attempts",
                    ),
                );
                let taken = taken.bind(self.config.queue.clone()).bind(id.to_owned());
                let Some(found) = taken.fetch_optional(&mut *transaction).await.map_err(row::store)? else {
                    return Ok(false);
                };
                let event = row::event(&found, row::parsed)?;
                self.insert(&mut transaction, &event).await?;
                let again = sqlx::query(
                    "UPDATE nudj_sync_outbox SET attempts = $3 WHERE queue = $1 AND event_id = $2 AND state = 0",
                );
                let again = again.bind(self.config.queue.clone()).bind(id.to_owned()).bind(found.try_get::<i64, _>("attempts").map_err(row::store)?);
                again.execute(&mut *transaction).await.map_err(row::store)?;
                transaction.commit().await.map_err(row::store)?;
                Ok(true)
            }
        }

        // The unused parameters of some are given types, or PostgreSQL could not tell them.
        const DONE: &str = concat!(
            "UPDATE nudj_sync_outbox SET state = 2, payload = 'null', settled_at = ", $now, " + CAST($3 AS BIGINT), ",
            "reason = CAST($4 AS TEXT) WHERE seq = $1 AND claims = $2 AND state = 0",
        );
        const RETRY: &str = concat!(
            "UPDATE nudj_sync_outbox SET due_at = ", $now, " + CAST($3 AS BIGINT), claims = claims + 1, ",
            "reason = CAST($4 AS TEXT) WHERE seq = $1 AND claims = $2 AND state = 0",
        );
        const RELEASE: &str = concat!(
            "UPDATE nudj_sync_outbox SET due_at = CAST($3 AS BIGINT), claims = claims + 1, attempts = attempts - 1, ",
            "reason = CAST($4 AS TEXT) WHERE seq = $1 AND claims = $2 AND state = 0",
        );
        const DEAD: &str = concat!(
            "UPDATE nudj_sync_outbox SET state = 1, settled_at = ", $now, " + CAST($3 AS BIGINT), ",
            "reason = CAST($4 AS TEXT) WHERE seq = $1 AND claims = $2 AND state = 0",
        );
    };
}
