//! What both outboxes promise beyond a bus: written once, for a pool of either database.

/// Tests of `$outbox` and `$processed`, for an `async fn() -> Option<$place>`, whose `outbox(&str)` opens a queue.
macro_rules! outbox_tests {
    ($place:path, $outbox:ty, $processed:ty) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn event_is_there_exactly_when_its_transaction_commits() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            sqlx::raw_sql("CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY)").execute(outbox.pool()).await.unwrap();
            for (number, commits) in [(0, false), (1, true), (2, false)] {
                let mut transaction = outbox.begin().await.unwrap();
                sqlx::query("INSERT INTO users VALUES ($1)")
                    .bind(format!("u-{number}"))
                    .execute(&mut *transaction)
                    .await
                    .unwrap();
                outbox.publish_in(&mut transaction, &event("k", number)).await.unwrap();
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.rollback().await.unwrap();
                }
            }
            let users: Vec<String> = sqlx::query_scalar("SELECT id FROM users").fetch_all(outbox.pool()).await.unwrap();
            let claimed = outbox.claim(10, std::time::Duration::from_secs(60)).await.unwrap();
            assert_eq!((users, claimed.len(), claimed[0].event.id.as_str()), (vec!["u-1".to_owned()], 1, "k-1"));
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn effect_and_note_of_it_are_one() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            let day = std::time::Duration::from_secs(24 * 3600);
            let processed = <$processed>::with_pool(outbox.pool().clone(), day).await.unwrap();
            let tables = "CREATE TABLE IF NOT EXISTS effects (id TEXT)";
            sqlx::raw_sql(tables).execute(outbox.pool()).await.unwrap();
            // The second dies before its commit, the fourth is a repeat.
            for (id, commits, is_new) in [("a", true, true), ("b", false, true), ("b", true, true), ("a", true, false)] {
                let mut transaction = outbox.begin().await.unwrap();
                assert_eq!(processed.record_in(&mut transaction, "bookkeeping", id).await.unwrap(), is_new, "{id}");
                if is_new {
                    let effect = sqlx::query("INSERT INTO effects VALUES ($1)").bind(id);
                    effect.execute(&mut *transaction).await.unwrap();
                }
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.rollback().await.unwrap();
                }
            }
            let effects: Vec<String> =
                sqlx::query_scalar("SELECT id FROM effects ORDER BY id").fetch_all(outbox.pool()).await.unwrap();
            assert_eq!(effects, ["a", "b"]);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn processed_ids_keep_what_followed_and_are_bounded_by_age() {
            use nudj_sync::event::ProcessedIds as _;

            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            let day = std::time::Duration::from_secs(24 * 3600);
            let store = <$processed>::with_pool(outbox.pool().clone(), day).await.unwrap();
            let follow_up = event("k", 0).follow_up("test.followed", 1).unwrap();
            store.record("a#0", "old", &[]).await.unwrap();
            store.record("a#0", "new", std::slice::from_ref(&follow_up)).await.unwrap();
            let age = "UPDATE nudj_sync_processed SET processed_at = processed_at - 86400001 WHERE event_id = 'old'";
            sqlx::raw_sql(age).execute(outbox.pool()).await.unwrap();
            store.sweep().await.unwrap();
            assert_eq!(store.find("a#0", "old").await.unwrap(), None);
            assert_eq!(store.find("a#0", "new").await.unwrap(), Some(vec![follow_up]));
            assert_eq!(store.find("a#1", "new").await.unwrap(), None);
        }

        /// Every claim that met such a row failed, and those claimed with it died without a call.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn row_that_cannot_be_read_is_one_dead_letter_and_stops_no_other() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            for key in ["a", "b", "c"] {
                outbox.publish(&event(key, 0)).await.unwrap();
            }
            let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
            let spoil = sqlx::query("UPDATE nudj_sync_outbox SET payload = $1 WHERE event_key = 'b'").bind(deep.clone());
            spoil.execute(outbox.pool()).await.unwrap();
            let claimed = outbox.claim(10, std::time::Duration::from_secs(60)).await.unwrap();
            let mut keys: Vec<_> = claimed.iter().map(|claimed| claimed.event.key.as_str()).collect();
            keys.sort_unstable();
            assert_eq!(keys, ["a", "c"]);
            let letters = outbox.dead_letters(10).await.unwrap();
            assert_eq!((letters.len(), letters[0].event.id.as_str()), (1, "b-0"));
            assert_eq!(letters[0].event.payload, deep, "its text can be looked at");
            assert!(letters[0].reason.contains("recursion limit"), "{}", letters[0].reason);
            // Cured by hand, it is an event as any other.
            let cure = sqlx::query("UPDATE nudj_sync_outbox SET payload = '0' WHERE event_key = 'b'");
            cure.execute(outbox.pool()).await.unwrap();
            assert!(outbox.replay("b-0").await.unwrap());
            let claimed = outbox.claim(10, std::time::Duration::from_secs(60)).await.unwrap();
            assert_eq!((claimed.len(), &claimed[0].event.key), (1, &"b".to_owned()));
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn done_events_are_swept_by_age_and_no_others() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Pass).await;
            for (number, settlement) in [
                (0, Some(nudj_sync::event::Settlement::Done(Vec::new()))),
                (1, Some(nudj_sync::event::Settlement::Dead { reason: "poison".to_owned() })),
                (2, None),
            ] {
                outbox.publish(&event("k", number)).await.unwrap();
                if let Some(settlement) = settlement {
                    let claimed = outbox.claim(1, std::time::Duration::from_secs(60)).await.unwrap();
                    assert!(outbox.settle(&claimed[0], &settlement).await.unwrap());
                }
            }
            let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM nudj_sync_outbox").fetch_one(outbox.pool());
            outbox.sweep().await.unwrap();
            assert_eq!(count().await.unwrap(), 3);
            let age = "UPDATE nudj_sync_outbox SET settled_at = settled_at - 604800001, published_at = published_at - 604800001";
            sqlx::raw_sql(age).execute(outbox.pool()).await.unwrap();
            outbox.sweep().await.unwrap();
            assert_eq!(count().await.unwrap(), 2);
        }

        /// A consumer sweeps once a minute: what one sweep leaves must not grow.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn sweep_leaves_nothing_however_much_there_is() {
            use nudj_sync::event::ProcessedIds as _;

            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Pass).await;
            let day = std::time::Duration::from_secs(24 * 3600);
            let processed = <$processed>::with_pool(outbox.pool().clone(), day).await.unwrap();
            for (table, columns, values) in [
                (
                    "nudj_sync_outbox",
                    "queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at, state, settled_at",
                    "'nudj', CAST(n AS TEXT), 't', 'k', 'null', 0, 0, 0, 2, 0",
                ),
                ("nudj_sync_processed", "handler, event_id, follow_ups, processed_at", "'h', CAST(n AS TEXT), '[]', 0"),
            ] {
                let rows = format!(
                    "INSERT INTO {table} ({columns}) WITH RECURSIVE numbers(n) AS                      (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20001) SELECT {values} FROM numbers"
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(outbox.pool()).await.unwrap();
            }
            outbox.sweep().await.unwrap();
            processed.sweep().await.unwrap();
            for table in ["nudj_sync_outbox", "nudj_sync_processed"] {
                let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
                assert_eq!(count.fetch_one(outbox.pool()).await.unwrap(), 0, "{table}");
            }
        }

        /// Their handlers have one name, so what the first had noted passed for done by the second, and its handler was never called.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn consumers_of_two_queues_that_share_a_store_of_processed_ids_do_both_their_work() {
            use nudj_sync::event::{Consumer, Delivery, EventBus, MemoryBus, MemoryConfig, OutboxConfig};

            let Some(place) = $place().await else { return };
            let pool = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await.pool().clone();
            let day = std::time::Duration::from_secs(24 * 3600);
            let processed = <$processed>::with_pool(pool.clone(), day).await.unwrap();
            let mut buses: Vec<std::sync::Arc<dyn EventBus>> = Vec::new();
            for queue in ["a", "b", "nudj"] {
                let config = OutboxConfig { queue: queue.to_owned(), ..OutboxConfig::default() };
                buses.push(std::sync::Arc::new(<$outbox>::with_pool(pool.clone(), config).await.unwrap()));
            }
            // As one that an outbox forwards to.
            buses.push(std::sync::Arc::new(MemoryBus::new(MemoryConfig::default()).unwrap()));
            for bus in &buses {
                bus.publish(&event("k", 0)).await.unwrap();
            }
            let run = async |bus: std::sync::Arc<dyn EventBus>, name: Option<&str>| {
                let journal = $crate::event::harness::Journal::default();
                let seen = journal.clone();
                let mut consumer = Consumer::of(std::sync::Arc::clone(&bus)).config($crate::event::harness::quick());
                consumer = consumer.processed(processed.clone()).on("test.numbered", move |delivery: Delivery| {
                    seen.done(&delivery.event);
                    async { Ok::<_, nudj_sync::Error>(()) }
                });
                if let Some(name) = name {
                    consumer = consumer.name(name);
                }
                let consumer = consumer.start().unwrap();
                $crate::event::harness::eventually("it is settled", async || bus.lag().await.unwrap().waiting == 0).await;
                consumer.shutdown(std::time::Duration::from_secs(30)).await;
                journal.count()
            };
            for bus in buses {
                assert_eq!(run(bus.clone(), None).await, 1, "{:?}", bus.name());
            }
            // As before there were names: a consumer of the default queue knows what it did.
            let old = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            assert!(processed.record_in(&mut pool.acquire().await.unwrap(), "test.numbered#0", "k-1").await.unwrap());
            for (name, called) in [(None, 0), (Some("mailer"), 1)] {
                old.publish(&event("k", 1).with_id("k-1")).await.unwrap();
                assert_eq!(run(std::sync::Arc::new(old.clone()), name).await, called);
                sqlx::raw_sql("DELETE FROM nudj_sync_outbox").execute(&pool).await.unwrap();
            }
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn follow_ups_of_one_event_keep_their_order_however_many_they_are() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            outbox.publish(&event("k", 0)).await.unwrap();
            let lease = std::time::Duration::from_secs(600);
            let claimed = outbox.claim(1, lease).await.unwrap();
            let follow_ups: Vec<_> = (0..2500).map(|number| event(&format!("k{}", number % 1250), number)).collect();
            let done = nudj_sync::event::Settlement::Done(follow_ups.clone());
            assert!(outbox.settle(&claimed[0], &done).await.unwrap());
            let ids = |events: Vec<nudj_sync::event::Claimed>| {
                let mut events = events;
                events.sort_by_key(|claimed| claimed.place);
                events.into_iter().map(|claimed| claimed.event.id).collect::<Vec<_>>()
            };
            let mut first = outbox.claim(1000, lease).await.unwrap();
            first.extend(outbox.claim(1000, lease).await.unwrap());
            assert_eq!(ids(first), follow_ups[..1250].iter().map(|event| event.id.clone()).collect::<Vec<_>>());
        }

        /// Rows that a claim has put aside come again also where nothing told of it: an older version, which knows nothing of them, a hand,
        /// another policy.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn row_that_waits_behind_nothing_is_found_by_the_next_sweep() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            let lease = std::time::Duration::from_secs(600);
            for (key, number) in [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)] {
                outbox.publish(&event(key, number)).await.unwrap();
            }
            let claimed = outbox.claim(10, lease).await.unwrap();
            assert_eq!(claimed.len(), 2);
            let dead = nudj_sync::event::Settlement::Dead { reason: "poison".to_owned() };
            let b = claimed.iter().find(|claimed| claimed.event.key == "b").unwrap();
            assert!(outbox.settle(b, &dead).await.unwrap());
            assert_eq!(outbox.claim(10, lease).await.unwrap(), []);
            let by_hand = "DELETE FROM nudj_sync_outbox WHERE event_id = 'a-0'";
            sqlx::raw_sql(by_hand).execute(outbox.pool()).await.unwrap();
            outbox.sweep().await.unwrap();
            let claimed = outbox.claim(10, lease).await.unwrap();
            assert_eq!((claimed.len(), claimed[0].event.id.as_str()), (1, "a-1"));
            let other = place.outbox(nudj_sync::event::AfterDeadLetter::Pass).await;
            other.sweep().await.unwrap();
            let claimed = other.claim(10, lease).await.unwrap();
            assert_eq!((claimed.len(), claimed[0].event.id.as_str()), (1, "b-1"));
        }

        /// More keys than one statement goes over, each with a row that is put aside for nothing, among others that wait for something.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn rows_of_any_number_of_keys_are_found_by_one_sweep() {
            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            let rows = |state: i64, parked: i64, names: &str| {
                sqlx::AssertSqlSafe(format!(
                    "INSERT INTO nudj_sync_outbox \
                     (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at, state, parked) \
                     WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500) \
                     SELECT 'nudj', '{names}' || CAST(n AS TEXT), 't', 'k' || CAST(n AS TEXT), 'null', 0, 0, 0, {state}, {parked} FROM numbers"
                ))
            };
            sqlx::raw_sql(rows(1, 0, "dead")).execute(outbox.pool()).await.unwrap();
            sqlx::raw_sql(rows(0, 1, "behind")).execute(outbox.pool()).await.unwrap();
            let freed = "DELETE FROM nudj_sync_outbox WHERE state = 1 AND event_key LIKE '%7'";
            sqlx::raw_sql(freed).execute(outbox.pool()).await.unwrap();
            outbox.sweep().await.unwrap();
            let front = "SELECT count(*) FROM nudj_sync_outbox WHERE parked = 0 AND state = 0 AND event_key LIKE '%7'";
            assert_eq!(sqlx::query_scalar::<_, i64>(front).fetch_one(outbox.pool()).await.unwrap(), 250);
            let still = "SELECT count(*) FROM nudj_sync_outbox WHERE parked = 1";
            assert_eq!(sqlx::query_scalar::<_, i64>(still).fetch_one(outbox.pool()).await.unwrap(), 2250);
        }

        /// What waits behind a dead letter is put aside by some, and let go on by others, at the same time.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn rows_that_several_put_aside_and_let_go_on_are_all_handled_in_order() {
            const KEYS: usize = 5;
            const EACH: usize = 40;

            let Some(place) = $place().await else { return };
            let outbox = place.outbox(nudj_sync::event::AfterDeadLetter::Hold).await;
            let seen = std::sync::Arc::new(parking_lot::Mutex::new(std::collections::BTreeMap::<String, Vec<String>>::new()));
            let publishers = (0..2).map(|_| outbox.clone()).enumerate().map(|(half, outbox)| {
                tokio::spawn(async move {
                    for number in 0..EACH {
                        for key in (0..KEYS).filter(|key| key % 2 == half) {
                            outbox.publish(&event(&format!("key-{key}"), number)).await.unwrap();
                        }
                    }
                })
            });
            let publishers: Vec<_> = publishers.collect();
            let workers = (0..3).map(|_| (outbox.clone(), seen.clone())).map(|(outbox, seen)| {
                tokio::spawn(async move {
                    loop {
                        // No sweep: nothing may be forgotten.
                        for claimed in outbox.claim(3, std::time::Duration::from_secs(600)).await.unwrap() {
                            seen.lock().entry(claimed.event.key.clone()).or_default().push(claimed.event.id.clone());
                            let done = nudj_sync::event::Settlement::Done(Vec::new());
                            assert!(outbox.settle(&claimed, &done).await.unwrap());
                        }
                        if seen.lock().values().map(Vec::len).sum::<usize>() == KEYS * EACH {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                })
            });
            let workers: Vec<_> = workers.collect();
            for task in publishers.into_iter().chain(workers) {
                let ended = tokio::time::timeout(std::time::Duration::from_secs(120), task).await;
                ended.expect("a row was put aside for nothing").unwrap();
            }
            for (key, ids) in &*seen.lock() {
                assert_eq!(*ids, (0..EACH).map(|number| format!("{key}-{number}")).collect::<Vec<_>>());
            }
        }
    };
}
pub(crate) use outbox_tests;
