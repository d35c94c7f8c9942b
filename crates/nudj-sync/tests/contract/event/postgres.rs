//! The outbox in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nudj_sync::Error;
use nudj_sync::event::{AfterDeadLetter, Consumer, Delivery, EventBus, OutboxConfig, PostgresOutbox, Settlement};
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::conformance::{Engine, conformance};
use super::harness::{event, eventually, quick};
use super::outbox::outbox_tests;

/// A schema of its own, removed at the end.
pub(crate) struct Postgres {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl Postgres {
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("NUDJ_TEST_POSTGRES_URL") else {
            crate::left_out(test, "NUDJ_TEST_POSTGRES_URL");
            return None;
        };
        let schema = format!("nudj_sync_event_{:016x}", fastrand::u64(..));
        let admin = PgPool::connect(&url).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::raw_sql(create).execute(&admin).await.unwrap();
        Some(Self { url, schema })
    }

    pub(crate) async fn pool(&self) -> PgPool {
        pool(&self.url, &self.schema).await
    }

    async fn outbox(&self, policy: AfterDeadLetter) -> PostgresOutbox {
        let config = OutboxConfig { after_dead_letter: policy, ..OutboxConfig::default() };
        PostgresOutbox::with_pool(self.pool().await, config).await.unwrap()
    }
}

pub(crate) async fn pool(url: &str, schema: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    let options = options.options([("search_path", schema)]);
    let pool = PgPoolOptions::new().max_connections(6).acquire_timeout(Duration::from_secs(10));
    pool.connect_with(options).await.unwrap()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let (url, schema) = (self.url.clone(), self.schema.clone());
        // A runtime of its own: the test's may be ending.
        let remove = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let drop = sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"));
                if let Ok(admin) = PgPool::connect(&url).await {
                    let _ = sqlx::raw_sql(drop).execute(&admin).await;
                }
            });
        };
        let _ = std::thread::spawn(remove).join();
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn bus(&self, policy: AfterDeadLetter) -> Arc<dyn EventBus> {
        Arc::new(self.outbox(policy).await)
    }
}

async fn engine() -> Option<Postgres> {
    Postgres::new("the outbox in PostgreSQL").await
}

conformance!(engine, 2);
outbox_tests!(engine, PostgresOutbox, nudj_sync::event::PostgresProcessed);

/// Sixteen writers hold their transactions for 0 to 20 ms, so that numbers are not committed in order, while workers consume: a cursor over
/// numbers lost 44 % here (FINDINGS, finding 1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_committed_late_are_not_skipped_and_keep_their_order_per_key() {
    const WRITERS: usize = 16;
    const EACH: usize = 40;

    let Some(place) = engine().await else { return };
    let outbox = place.outbox(AfterDeadLetter::Hold).await;
    let writing = PgPoolOptions::new().max_connections(WRITERS as u32);
    let options: PgConnectOptions = place.url.parse().unwrap();
    let writing = writing.connect_with(options.options([("search_path", &place.schema)])).await.unwrap();
    let writing = PostgresOutbox::with_pool(writing, OutboxConfig::default()).await.unwrap();

    let seen: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let seen = Arc::clone(&seen);
            let handler = move |delivery: Delivery| {
                seen.lock().entry(delivery.event.key).or_default().push(delivery.event.id);
                async { Ok::<_, Error>(()) }
            };
            let config = nudj_sync::event::ConsumerConfig { lease: Duration::from_secs(60), ..quick() };
            Consumer::builder(outbox.clone()).config(config).on_any(handler).start().unwrap()
        })
        .collect();
    // The order in which the publications of a key ended, told while its turn is still held.
    let published: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (writing, published) = (writing.clone(), Arc::clone(&published));
            tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(writer as u64);
                for number in 0..EACH {
                    let mut event = event(&format!("key-{}", rng.usize(0..20)), number);
                    event.id = format!("{writer}-{number}");
                    let mut transaction = writing.begin().await.unwrap();
                    writing.publish_in(&mut transaction, &event).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(rng.u64(0..20))).await;
                    published.lock().entry(event.key).or_default().push(event.id);
                    transaction.commit().await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    eventually("nothing waits", async || outbox.lag().await.unwrap().waiting == 0).await;
    for consumer in consumers {
        consumer.shutdown(Duration::from_secs(30)).await;
    }
    assert_eq!(published.lock().values().map(Vec::len).sum::<usize>(), WRITERS * EACH);
    assert_eq!(*seen.lock(), *published.lock());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_queue_and_none_gets_what_another_has() {
    let Some(place) = engine().await else { return };
    let outbox = place.outbox(AfterDeadLetter::Hold).await;
    for number in 0..400 {
        outbox.publish(&event(&format!("key-{number}"), number)).await.unwrap();
    }
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claimed = outbox.claim(7, Duration::from_secs(600)).await.unwrap();
                    // Rows that another is claiming at this moment are left out, so an empty claim is not the end.
                    if claimed.is_empty() && outbox.lag().await.unwrap().waiting == 0 {
                        return mine;
                    }
                    for claimed in claimed {
                        mine.push(claimed.event.id.clone());
                        assert!(outbox.settle(&claimed, &Settlement::Done(Vec::new())).await.unwrap());
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (400, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_of_the_same_keys_in_other_orders_do_not_end_each_other() {
    let Some(place) = engine().await else { return };
    let outbox = place.outbox(AfterDeadLetter::Hold).await;
    let publishers: Vec<_> = (0..4_usize)
        .map(|publisher| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let mut events: Vec<_> = (0..4)
                        .map(|key| event(&format!("key-{key}"), number).with_id(format!("{publisher}-{number}-{key}")))
                        .collect();
                    events.rotate_left(publisher);
                    let mut transaction = outbox.begin().await.unwrap();
                    outbox.publish_all_in(&mut transaction, &events).await.unwrap();
                    transaction.commit().await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(outbox.lag().await.unwrap().waiting, 4 * 20 * 4);
}

/// As earlier versions made it.
const OLD: &str = "CREATE TABLE nudj_sync_outbox (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, queue TEXT NOT NULL,
    event_id TEXT NOT NULL, topic TEXT NOT NULL, event_key TEXT NOT NULL, payload TEXT NOT NULL, occurred_at BIGINT NOT NULL,
    published_at BIGINT NOT NULL, state BIGINT NOT NULL DEFAULT 0, due_at BIGINT NOT NULL, attempts BIGINT NOT NULL DEFAULT 0,
    claims BIGINT NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', settled_at BIGINT, UNIQUE (queue, event_id));
INSERT INTO nudj_sync_outbox (queue, event_id, topic, event_key, payload, occurred_at, published_at, due_at)
    VALUES ('nudj', 'k-0', 'test.numbered', 'k', '0', 0, 0, 0), ('nudj', 'k-1', 'test.numbered', 'k', '1', 0, 0, 0);";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_an_earlier_version_gets_what_it_lacks_and_keeps_its_rows() {
    let Some(place) = engine().await else { return };
    sqlx::raw_sql(OLD).execute(&place.pool().await).await.unwrap();
    let (first, second) = tokio::join!(place.outbox(AfterDeadLetter::Hold), place.outbox(AfterDeadLetter::Hold));
    for (number, outbox) in [first, second].into_iter().enumerate() {
        let claimed = outbox.claim(10, Duration::from_secs(60)).await.unwrap();
        assert_eq!((claimed.len(), &claimed[0].event.id), (1, &format!("k-{number}")));
        assert!(outbox.settle(&claimed[0], &Settlement::Done(Vec::new())).await.unwrap());
    }
}

/// `CREATE INDEX IF NOT EXISTS` waited for every open transaction on the table, and all that came later waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outbox_that_is_there_is_opened_without_a_lock_and_without_the_right_to_make_tables() {
    let Some(place) = engine().await else { return };
    let outbox = place.outbox(AfterDeadLetter::Hold).await;
    let day = Duration::from_secs(24 * 3600);
    let processed = nudj_sync::event::PostgresProcessed::with_pool(outbox.pool().clone(), day).await.unwrap();
    let mut business = outbox.begin().await.unwrap();
    outbox.publish_in(&mut business, &event("k", 0)).await.unwrap();
    processed.record_in(&mut business, "bookkeeping", "k-0").await.unwrap();
    let options: PgConnectOptions = place.url.parse().unwrap();
    for (name, value) in [("lock_timeout", "100ms"), ("default_transaction_read_only", "on")] {
        let options = options.clone().options([("search_path", place.schema.as_str()), (name, value)]);
        let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
        PostgresOutbox::with_pool(pool.clone(), OutboxConfig::default()).await.unwrap();
        nudj_sync::event::PostgresProcessed::with_pool(pool, day).await.unwrap();
    }
    business.commit().await.unwrap();
}

/// It took one lock per key, and a large import all that the server has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_for_many_keys_takes_a_bounded_number_of_locks() {
    let Some(place) = engine().await else { return };
    let outbox = place.outbox(AfterDeadLetter::Hold).await;
    let events: Vec<_> = (0..3000).map(|number| event(&format!("key-{number}"), number)).collect();
    let mut transaction = outbox.begin().await.unwrap();
    outbox.publish_all_in(&mut transaction, &events).await.unwrap();
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let locks: i64 = sqlx::query_scalar(locks).fetch_one(&mut *transaction).await.unwrap();
    assert!((1..=1024).contains(&locks), "{locks}");
    transaction.commit().await.unwrap();
    assert_eq!(outbox.lag().await.unwrap().waiting, 3000);
}
