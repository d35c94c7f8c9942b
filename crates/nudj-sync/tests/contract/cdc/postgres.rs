//! From PostgreSQL, by a cursor, to the mock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nudj_mock::MockNudj;
use nudj_sync::cdc::{
    Batch, CdcState as _, ChangeSource as _, Pipeline, Position, PostgresSource, PostgresState, Standing,
};
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::{
    child::{self, Engine},
    fixture::{builder, challenges, sick, users},
    writers::{Told, Writers},
};

/// A database of its own; removed by [`Database::remove`].
pub(super) struct Database {
    pub(super) pool: PgPool,
    pub(super) url: String,
    name: String,
    pub(super) admin: PgPool,
}

impl Database {
    pub(super) async fn new(test: &str) -> Option<Self> {
        let Ok(server) = std::env::var("NUDJ_TEST_POSTGRES_URL") else {
            crate::left_out(test, "NUDJ_TEST_POSTGRES_URL");
            return None;
        };
        let name = format!("nudj_cdc_{:016x}", fastrand::u64(..));
        let admin = PgPool::connect(&server).await.unwrap();
        run(&admin, &format!("CREATE DATABASE {name}")).await;
        let (before, _) = server.rsplit_once('/').unwrap();
        let url = format!("{before}/{name}");
        let pool = PgPoolOptions::new().max_connections(20).connect(&url).await.unwrap();
        run(&pool, "CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT, display_name TEXT, updated_at TIMESTAMPTZ)")
            .await;
        run(&pool, "CREATE TABLE challenges (id TEXT PRIMARY KEY, title TEXT)").await;
        Some(Self { pool, url, name, admin })
    }

    pub(super) async fn start(&self, mock: &MockNudj) -> Pipeline {
        let (source, state) = cursor(&self.url).await;
        builder(source, state, mock).start().unwrap()
    }

    pub(super) async fn user(&self, id: u64) {
        let sql = format!("INSERT INTO users VALUES ({id}, 'u{id}@example.org', 'first {id}', clock_timestamp())");
        run(&self.pool, &sql).await;
    }

    pub(super) async fn remove(self) {
        self.pool.close().await;
        run(&self.admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

pub(super) async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
}

/// For the child too.
pub(super) async fn cursor(url: &str) -> (PostgresSource, PostgresState) {
    let pool =
        PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5)).connect(url).await.unwrap();
    let source =
        PostgresSource::with_pool(pool.clone(), ["users", "challenges"]).poll_interval(Duration::from_millis(10));
    (source, PostgresState::with_pool(pool, "test").await.unwrap())
}

pub(super) async fn eventually(what: &str, pipeline: &Pipeline, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "{what}: {:?}", pipeline.status());
}

#[tokio::test]
async fn a_transaction_open_in_another_database_is_waited_for_and_not_taken_for_the_end() {
    let Some(database) = Database::new("cdc::postgres::open_elsewhere").await else { return };
    let Some(elsewhere) = Database::new("cdc::postgres::open_elsewhere").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = database.start(&mock).await;
    super::fixture::caught_up(&pipeline).await;
    let mut open = elsewhere.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_current_xact_id()").execute(&mut *open).await.unwrap();
    database.user(1).await;
    let behind = pipeline.wait_for(|status| !status.caught_up);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), behind).await, Ok(true), "{:?}", pipeline.status());
    assert!(users(&mock).is_empty());
    open.rollback().await.unwrap();
    eventually("its end", &pipeline, async || users(&mock).len() == 1).await;
    assert!(pipeline.stop(Duration::from_secs(10)).await);
    elsewhere.remove().await;
    database.remove().await;
}

/// Between any two statements of a look.
#[tokio::test]
async fn row_that_is_committed_during_a_look_is_read_by_it_or_said_to_wait() {
    let Some(database) = Database::new("cdc::postgres::committed_during_a_look").await else { return };
    // A row is inserted before the statement with this number.
    let (insert_at, seen) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicUsize::new(0)));
    let (at, count, writer) = (Arc::clone(&insert_at), Arc::clone(&seen), database.pool.clone());
    let pool = PgPoolOptions::new().max_connections(1).before_acquire(move |_, _| {
        let is_now = count.fetch_add(1, Ordering::SeqCst) == at.load(Ordering::SeqCst);
        let writer = writer.clone();
        Box::pin(async move {
            if is_now {
                let insert = "INSERT INTO challenges VALUES (gen_random_uuid()::text, 'x')";
                sqlx::raw_sql(insert).execute(&writer).await?;
            }
            Ok(true)
        })
    });
    let pool = pool.connect(&database.url).await.unwrap();
    let mut source = PostgresSource::with_pool(pool, ["challenges"]).poll_interval(Duration::from_millis(1));
    source.begin_snapshot().await.unwrap();
    let mut handed_out = 0;
    for number in 0..6 {
        // All that is there is handed out first.
        while {
            let batch = source.next(100).await.unwrap();
            handed_out += batch.changes.len();
            batch.position.is_some() || batch.held_back
        } {}
        assert_eq!(handed_out, number);
        seen.store(0, Ordering::SeqCst);
        insert_at.store(number, Ordering::SeqCst);
        let batch = source.next(100).await.unwrap();
        handed_out += batch.changes.len();
        if seen.load(Ordering::SeqCst) <= number {
            assert!(number >= 4, "a look has {number} statements only");
            break;
        }
        assert!(
            !batch.changes.is_empty() || batch.held_back,
            "the row before statement {number} is taken for not there"
        );
        insert_at.store(usize::MAX, Ordering::SeqCst);
    }
    database.remove().await;
}

#[tokio::test]
async fn rows_are_users_from_the_snapshot_to_the_delete() {
    let Some(database) = Database::new("cdc::postgres::rows_are_users").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    database.user(1).await;
    database.user(2).await;
    let pipeline = database.start(&mock).await;
    eventually("snapshot", &pipeline, async || users(&mock).len() == 2).await;
    run(&database.pool, "UPDATE users SET display_name = 'second' WHERE id = 1; DELETE FROM users WHERE id = 2").await;
    run(
        &database.pool,
        "INSERT INTO challenges VALUES ('a', 'Alpha'), ('b', 'Beta'); DELETE FROM challenges WHERE id = 'b'",
    )
    .await;
    run(&database.pool, "BEGIN; INSERT INTO users VALUES (9, 'never@example.org', 'never'); ROLLBACK").await;
    // Columns come, go and are renamed; a row moves to another key.
    run(
        &database.pool,
        "ALTER TABLE users ADD COLUMN bio TEXT, DROP COLUMN updated_at; UPDATE users SET bio = 'a text'",
    )
    .await;
    run(
        &database.pool,
        "INSERT INTO users VALUES (3, 'u3@example.org', 'three'); UPDATE users SET id = 30 WHERE id = 3",
    )
    .await;
    let expected = BTreeMap::from([("1".to_owned(), "second".to_owned()), ("30".to_owned(), "three".to_owned())]);
    eventually("stream", &pipeline, async || users(&mock) == expected).await;
    eventually("challenges", &pipeline, async || challenges(&mock).await == BTreeMap::from([("Alpha".into(), 1)]))
        .await;
    assert!(mock.users().iter().any(|user| user["bio"] == "a text"));
    run(
        &database.pool,
        "ALTER TABLE users RENAME COLUMN email TO mail; INSERT INTO users VALUES (4, 'x@example.org', 'x')",
    )
    .await;
    eventually("poison", &pipeline, async || pipeline.status().buried == 1).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}

/// FINDINGS of the project: a poll by `updated_at` loses rows of transactions that end later than they began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_out_of_order_with_sixteen_writers_where_a_poll_by_timestamp_loses() {
    let Some(database) = Database::new("cdc::postgres::sixteen_writers").await else { return };
    let (mut source, _) = cursor(&database.url).await;
    source.begin_snapshot().await.unwrap();
    let writers = Writers::start(&database.pool);
    writers.may_end();
    let (mut told, mut naive, mut last_seen) = (Told::default(), BTreeSet::new(), String::from("-infinity"));
    let reading = async {
        loop {
            let ended = writers.ended();
            let batch = source.next(500).await.unwrap();
            // No change and none held back, by a writer or by a transaction in another test's database.
            let is_end = batch == Batch::default();
            batch.changes.into_iter().for_each(|change| told.add(change));
            let rows: Vec<(i64, String)> = sqlx::query_as(
                "SELECT id, updated_at::text FROM users WHERE updated_at > $1::timestamptz ORDER BY updated_at",
            )
            .bind(&last_seen)
            .fetch_all(&database.pool)
            .await
            .unwrap();
            if let Some((_, at)) = rows.last() {
                last_seen.clone_from(at);
            }
            naive.extend(rows.into_iter().map(|(id, _)| id));
            if ended && is_end {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("it comes to its end");
    let written = writers.written().await;
    let naive = u64::try_from(naive.len()).unwrap();
    eprintln!(
        "of {written} rows the cursor lost {}, the poll by timestamp {}",
        written - told.users(),
        written - naive
    );
    told.assert_is_all_of(written);
    assert!(naive < written, "this test shows nothing where even a naive poll loses nothing");
    database.remove().await;
}

/// The server goes on with what a killed process has sent it.
#[tokio::test]
async fn position_is_not_read_before_a_commit_of_a_killed_process_is_through() {
    let Some(database) = Database::new("cdc::postgres::commit_under_way").await else { return };
    let (_, state) = cursor(&database.url).await;
    let generation = state.begin_snapshot().await.unwrap().generation;
    let mut commit = database.pool.begin().await.unwrap();
    let moved = "UPDATE nudj_cdc_streams SET position = '1:2:3'";
    sqlx::raw_sql(moved).execute(&mut *commit).await.unwrap();
    let standing = tokio::spawn(async move { state.standing().await });
    let waits =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())";
    while !standing.is_finished() && !sqlx::query_scalar::<_, bool>(waits).fetch_one(&database.pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    commit.commit().await.unwrap();
    let position = Some(Position::new("1:2:3"));
    assert_eq!(standing.await.unwrap().unwrap(), Standing { position, generation });
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_there_once_after_kill_nine_with_a_sick_nudj() {
    let Some(database) = Database::new("cdc::postgres::kill_nine").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    sick(&mock, 11);
    let engine = Engine::Cursor { url: database.url.clone() };
    let mut next = 0_u64;
    let killed = child::killed_over_and_over(&engine, &mock, async |round| {
        for _ in 0..child::rows_a_round() {
            next += 1;
            database.user(next).await;
            run(&database.pool, &format!("INSERT INTO challenges VALUES ('c{next}', 'Title {next}')")).await;
            run(&database.pool, &format!("UPDATE users SET display_name = 'round {round}' WHERE id = {}", next / 2))
                .await;
            if next.is_multiple_of(7) {
                run(
                    &database.pool,
                    &format!("DELETE FROM users WHERE id = {0}; DELETE FROM challenges WHERE id = 'c{0}'", next - 3),
                )
                .await;
            }
        }
    })
    .await;
    assert!(killed >= child::kills() / 2, "killed while at work: {killed}");
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, display_name FROM users").fetch_all(&database.pool).await.unwrap();
    let expected: BTreeMap<String, String> = rows.into_iter().map(|(id, name)| (id.to_string(), name)).collect();
    assert_eq!(users(&mock), expected);
    let titles: Vec<String> =
        sqlx::query_scalar("SELECT title FROM challenges").fetch_all(&database.pool).await.unwrap();
    assert_eq!(challenges(&mock).await, titles.into_iter().map(|title| (title, 1)).collect());
    let (_, state) = cursor(&database.url).await;
    assert_eq!(state.dead_letter_count().await.unwrap(), 0);
    database.remove().await;
}

#[tokio::test]
async fn source_that_is_to_wait_for_ever_hands_out_what_is_there() {
    let Some(database) = Database::new("cdc::postgres::source_that_is_to_wait_for_ever").await else { return };
    database.user(1).await;
    let mut source = cursor(&database.url).await.0.poll_interval(Duration::MAX);
    source.begin_snapshot().await.unwrap();
    // While a transaction of another test is open, it is not there yet, and a look that began then waits for ever.
    let look = async {
        loop {
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(500), source.next(10)).await {
                break batch.unwrap();
            }
        }
    };
    let batch = tokio::time::timeout(Duration::from_secs(120), look).await.expect("it is handed out");
    assert_eq!(batch.changes.len(), 1);
    drop(source);
    database.remove().await;
}
