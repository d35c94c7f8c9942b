//! The database goes away for a while: nothing is lost, and nothing reordered within a key.
//!
//! Two seconds, or as many as `NUDJ_TEST_OUTAGE_SECONDS` says.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nudj_mock::MockNudj;
use nudj_sync::cdc::Pipeline;
use tokio::time::Instant;

use super::fixture::{builder, users};

const KEYS: u64 = 5;

fn away() -> Duration {
    let seconds = std::env::var("NUDJ_TEST_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(120), wait).await.is_ok(), "{what}");
}

/// The names that each user was given by updates, in their order.
fn updates(mock: &MockNudj) -> BTreeMap<String, Vec<u64>> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let keys: HashMap<String, String> =
        mock.users().iter().map(|user| (text(&user["id"]), text(&user["externalUserId"]))).collect();
    let mut updates = BTreeMap::<String, Vec<u64>>::new();
    for request in mock.requests().iter().filter(|request| request.method == "PATCH") {
        let id = request.path.rsplit('/').next().unwrap();
        let name = text(&request.json().unwrap()["displayName"]);
        updates.entry(keys[id].clone()).or_default().push(name.parse().unwrap());
    }
    updates
}

/// Work goes on, the database goes and comes back, work goes on. `write` is repeated until it is taken; `outage` takes the database
/// away until the future it is given ends. With `all`, the source reports every change, not only the newest row.
async fn survives(
    pipeline: Pipeline,
    mock: &MockNudj,
    write: impl AsyncFn(u64, u64) -> bool,
    outage: impl AsyncFnOnce(Pin<Box<dyn Future<Output = ()> + Send + '_>>),
    all: bool,
) {
    let end = AtomicBool::new(false);
    let count = || mock.received().count("PATCH".parse().unwrap(), "/api/v2/admin/users/{id}");
    let writer = async {
        let mut number = 0;
        while !end.load(Ordering::SeqCst) {
            number += 1;
            for key in 0..KEYS {
                while !write(key, number).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        number
    };
    let director = async {
        eventually("work before", || count() >= 50).await;
        let failures = pipeline.status().stream_failures;
        let noticed = pipeline.wait_for(|status| status.stream_failures > failures);
        let begun = Instant::now();
        outage(Box::pin(async move {
            let noticed = tokio::time::timeout(Duration::from_secs(60), noticed).await;
            assert_eq!(noticed, Ok(true), "it was away");
            tokio::time::sleep_until(begun + away()).await;
        }))
        .await;
        let during = count();
        eventually("work after", || count() >= during + 50).await;
        end.store(true, Ordering::SeqCst);
    };
    let (last, ()) = tokio::join!(writer, director);
    let expected: BTreeMap<String, String> = (0..KEYS).map(|key| (key.to_string(), last.to_string())).collect();
    eventually("nothing lost", || users(mock) == expected).await;
    for (key, mut updates) in updates(mock) {
        assert!(updates.is_sorted(), "user {key} was taken back: {updates:?}");
        updates.dedup();
        assert!(!all || updates == (1..=last).collect::<Vec<_>>(), "user {key} missed one of {last}: {updates:?}");
    }
    assert_eq!(pipeline.status().buried, 0);
    assert!(pipeline.stop(Duration::from_secs(10)).await);
}

#[cfg(feature = "cdc-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_server_that_crashes_loses_and_reorders_nothing() {
    use nudj_sync::cdc::{PostgresSource, PostgresState};
    use sqlx::postgres::PgPoolOptions;

    let Some(server) = crate::postgres_server::PostgresServer::new() else {
        return crate::left_out("the outage of CDC's PostgreSQL", "up PostgreSQL's programs, /usr/lib/postgresql");
    };
    let pool = PgPoolOptions::new().max_connections(6).acquire_timeout(Duration::from_millis(500));
    let pool = pool.connect(&server.url()).await.unwrap();
    let rows = format!(
        "CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT, display_name TEXT);
         INSERT INTO users SELECT id, 'u' || id || '@example.org', '0' FROM generate_series(0, {}) AS id",
        KEYS - 1
    );
    super::postgres::run(&pool, &rows).await;
    let mock = MockNudj::start().await.unwrap();
    let source = PostgresSource::with_pool(pool.clone(), ["users"]).poll_interval(Duration::from_millis(10));
    let state = PostgresState::with_pool(pool.clone(), "test").await.unwrap();
    let pipeline = builder(source, state, &mock).start().unwrap();
    super::fixture::caught_up(&pipeline).await;
    let write = async |key: u64, number: u64| {
        let update = format!("UPDATE users SET display_name = '{number}' WHERE id = {key}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&pool).await.is_ok()
    };
    let outage = async |over: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
        server.pg_ctl("stop");
        over.await;
        server.pg_ctl("start");
    };
    survives(pipeline, &mock, write, outage, true).await;
}

#[cfg(feature = "cdc-sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_sqlite_file_loses_and_reorders_nothing() {
    use nudj_sync::cdc::{SqliteSource, SqliteState};
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

    let folder = tempfile::tempdir().unwrap();
    // Not in write-ahead mode, where a lock would not stop readers. Who finds it locked gives up soon.
    let pool = async |wait: Duration| {
        let options = SqliteConnectOptions::new().filename(folder.path().join("app.db")).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Delete).busy_timeout(wait);
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
    };
    let (soon, app) = (Duration::from_millis(50), pool(Duration::from_secs(10)).await);
    sqlx::raw_sql("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, display_name TEXT)")
        .execute(&app)
        .await
        .unwrap();
    for key in 0..KEYS {
        let insert = format!("INSERT INTO users VALUES ({key}, 'u{key}@example.org', '0')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&app).await.unwrap();
    }
    let mock = MockNudj::start().await.unwrap();
    let state = SqliteState::with_pool(pool(soon).await, "test").await.unwrap();
    let source = SqliteSource::with_pool(pool(soon).await, ["users"]).poll_interval(Duration::from_millis(10));
    let pipeline = builder(source, state, &mock).start().unwrap();
    super::fixture::caught_up(&pipeline).await;
    let write = async |key: u64, number: u64| {
        let update = format!("UPDATE users SET display_name = '{number}' WHERE id = {key}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&app).await.is_ok()
    };
    let locker = pool(Duration::from_secs(60)).await;
    let outage = async |over: Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
        let lock = locker.begin_with("BEGIN EXCLUSIVE").await.unwrap();
        over.await;
        lock.rollback().await.unwrap();
    };
    survives(pipeline, &mock, write, outage, false).await;
}
