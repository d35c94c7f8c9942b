//! From an SQLite file to the mock.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use nudj_mock::{Fault, MockNudj};
use nudj_sync::cdc::{CdcState as _, ChangeSource as _, Pipeline, Position, SqliteSource, SqliteState};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::{
    child::{self, Engine},
    fixture::{builder, caught_up, challenges, sick, users},
};

pub(super) struct Database {
    folder: tempfile::TempDir,
    pool: SqlitePool,
}

impl Database {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("app.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let database = Self { folder, pool };
        database.run("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, display_name TEXT)").await;
        database.run("CREATE TABLE challenges (id TEXT PRIMARY KEY, title TEXT)").await;
        database
    }

    pub(super) async fn run(&self, sql: impl Into<String>) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into())).execute(&self.pool).await.unwrap();
    }

    pub(super) async fn user(&self, id: u64) {
        self.run(format!(
            "INSERT INTO users (id, email, display_name) VALUES ({id}, 'u{id}@example.org', 'first {id}')"
        ))
        .await;
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    fn state_path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    pub(super) async fn source(&self) -> SqliteSource {
        source(&self.path()).await
    }

    pub(super) async fn state(&self) -> SqliteState {
        SqliteState::open(self.state_path(), "test").await.unwrap()
    }

    pub(super) async fn start(&self, mock: &MockNudj) -> Pipeline {
        builder(self.source().await, self.state().await, mock).start().unwrap()
    }
}

pub(super) async fn source(path: &Path) -> SqliteSource {
    SqliteSource::open(path, ["users", "challenges", "late"]).await.unwrap().poll_interval(Duration::from_millis(5))
}

/// A mock that takes two users of one external id: what keeps them apart is ours.
pub(super) async fn mock() -> MockNudj {
    MockNudj::builder().duplicate_users(true).start().await.unwrap()
}

pub(super) fn named(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
}

/// Waits until something has been written after the moment at which this was called.
pub(super) async fn settled(database: &Database, pipeline: &Pipeline) {
    let last: i64 = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'nudj_changes'")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    let seq = |position: &Position| position.as_str().split(':').next().and_then(|seq| seq.parse::<i64>().ok());
    let reached = pipeline.wait_for(|status| status.position.as_ref().and_then(seq) >= Some(last));
    let done = tokio::time::timeout(Duration::from_secs(60), reached).await;
    assert_eq!(done, Ok(true), "{:?}", pipeline.status());
}

#[tokio::test]
async fn rows_are_users_from_the_snapshot_to_the_delete() {
    let (database, mock) = (Database::new().await, mock().await);
    database.user(1).await;
    database.user(2).await;
    database.run("INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock), named(&[("1", "first 1"), ("2", "first 2")]));
    assert_eq!(challenges(&mock).await, BTreeMap::from([("Alpha".into(), 1)]));

    database.user(3).await;
    database.run("UPDATE users SET display_name = 'second' WHERE id = 1; DELETE FROM users WHERE id = 2").await;
    database.run("UPDATE challenges SET title = 'Beta'; INSERT INTO challenges VALUES ('b', 'Gamma')").await;
    database.run("DELETE FROM challenges WHERE id = 'b'").await;
    // A row that gets another key is another user.
    database.run("UPDATE users SET id = 30 WHERE id = 3").await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("1", "second"), ("30", "first 3")]));
    assert_eq!(challenges(&mock).await, BTreeMap::from([("Beta".into(), 1)]));
    let no_lag = pipeline.wait_for(|status| status.lag.changes == Some(0));
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), no_lag).await, Ok(true), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn what_happens_while_no_pipeline_runs_is_made_up_for() {
    let (database, mock) = (Database::new().await, mock().await);
    database.user(1).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    let calls = mock.request_count();

    database.run("UPDATE users SET display_name = 'second' WHERE id = 1").await;
    database.user(2).await;
    let pipeline = database.start(&mock).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("1", "second"), ("2", "first 2")]));
    assert_eq!(mock.request_count() - calls, 2, "resumed, not begun again");
}

#[tokio::test]
async fn source_that_is_to_wait_for_ever_hands_out_what_is_there() {
    let database = Database::new().await;
    database.user(1).await;
    let mut source = database.source().await.poll_interval(Duration::MAX);
    source.begin_snapshot().await.unwrap();
    let batch = source.next(10).await.unwrap();
    assert!(batch.changes.len() == 1 && batch.snapshot_complete, "{batch:?}");
}

/// The ways that the source's page names.
#[tokio::test]
async fn row_that_replace_removes_is_deleted_where_triggers_are_recursive_and_an_upsert_needs_nothing() {
    let (database, mock) = (Database::new().await, mock().await);
    database.run("CREATE UNIQUE INDEX users_email ON users (email)").await;
    database.user(1).await;
    database.user(2).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    // In one go: the setting belongs to the connection.
    let replaced = "INSERT OR REPLACE INTO users VALUES (3, 'u1@example.org', 'third')";
    database.run(format!("PRAGMA recursive_triggers = ON; {replaced}; PRAGMA recursive_triggers = OFF")).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("2", "first 2"), ("3", "third")]));

    let ids = || mock.users().iter().map(|user| user["id"].to_string()).collect::<Vec<_>>();
    let before = ids();
    let upsert = "ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name";
    database.run(format!("INSERT INTO users VALUES (2, 'u2@example.org', 'second') {upsert}")).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("2", "second"), ("3", "third")]));
    assert_eq!(ids(), before, "changed, not made anew");
}

#[tokio::test]
async fn rolled_back_transaction_is_never_seen() {
    let (database, mock) = (Database::new().await, mock().await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    database.run("BEGIN; INSERT INTO users VALUES (1, 'a@example.org', 'never'); ROLLBACK").await;
    database.user(2).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock), named(&[("2", "first 2")]));
}

#[tokio::test]
async fn poison_row_is_put_aside_and_replayed() {
    let (database, mock) = (Database::new().await, mock().await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    for id in 1..=200 {
        database.user(id).await;
        if id % 100 == 0 {
            database.run(format!("UPDATE users SET email = 'nowhere' WHERE id = {id}")).await;
        }
    }
    // Not read before the address was wrong: the row shows what is newest.
    settled(&database, &pipeline).await;
    database
        .run("INSERT INTO users VALUES (777, 'nowhere', 'bad'), (778, NULL, 'none'), (779, 'x@example.org', 'good')")
        .await;
    settled(&database, &pipeline).await;
    assert!(users(&mock).contains_key("779"), "the others go on");
    let letters = pipeline.state().dead_letters(10).await.unwrap();
    let letter = letters.iter().find(|letter| letter.id == "users/777").expect("put aside");
    assert!(letter.reason.contains("email"), "{}", letter.reason);
    let none = letters.iter().find(|letter| letter.id == "users/778").expect("put aside");
    assert!(none.reason.contains("column `email` is empty"), "{}", none.reason);

    // The next change of the row heals it: the older letter would only undo it.
    database.run("UPDATE users SET email = 'good@example.org' WHERE id = 777").await;
    settled(&database, &pipeline).await;
    assert!(users(&mock).contains_key("777"));
    let letters = pipeline.state().dead_letters(10).await.unwrap();
    assert!(!letters.iter().any(|letter| letter.id == "users/777"), "{letters:?}");
    assert!(!pipeline.state().replay("users/777").await.unwrap());
}

#[tokio::test]
async fn replayed_dead_letter_gets_through_once_nudj_takes_it() {
    let (database, mock) = (Database::new().await, mock().await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    let refuses = mock.inject(Fault::status(422).on("POST".parse().unwrap(), "/api/v2/admin/users"));
    database.user(1).await;
    settled(&database, &pipeline).await;
    assert_eq!(pipeline.state().dead_letter_count().await.unwrap(), 1);
    mock.remove_fault(refuses);
    assert!(pipeline.state().replay("users/1").await.unwrap());
    tokio::time::timeout(Duration::from_secs(30), async {
        while pipeline.state().dead_letter_count().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("replayed");
    assert_eq!(users(&mock), named(&[("1", "first 1")]));
    assert!(!pipeline.state().discard("users/1").await.unwrap());
}

#[tokio::test]
async fn record_that_only_ends_in_500_or_403_does_not_hold_up_the_others() {
    for code in [500, 403] {
        one_record_answers(code).await;
    }
}

async fn one_record_answers(code: u16) {
    let (database, mock) = (Database::new().await, mock().await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    database.run("INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    settled(&database, &pipeline).await;
    mock.inject(Fault::status(code).on("POST".parse().unwrap(), "/api/v2/admin/challenges/{id}"));
    database.run("UPDATE challenges SET title = 'Beta'").await;
    for id in 1..=50 {
        database.user(id).await;
        tokio::task::yield_now().await;
    }
    let wait = pipeline.wait_for(|status| status.applied >= 51);
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), wait).await, Ok(true));
    assert_eq!(users(&mock).len(), 50);
    // It gives up only when others got through meanwhile.
    let wait = pipeline.wait_for(|status| status.buried == 1);
    let mut next = 51;
    tokio::pin!(wait);
    while tokio::time::timeout(Duration::from_millis(20), &mut wait).await.is_err() {
        database.user(next).await;
        next += 1;
        assert!(next < 2000, "{:?}", pipeline.status());
    }
    settled(&database, &pipeline).await;
}

#[tokio::test]
async fn outage_of_nudj_buries_nothing() {
    let (database, mock) = (Database::new().await, mock().await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    let down = mock.inject(Fault::status(503));
    for id in 1..=30 {
        database.user(id).await;
    }
    assert!(pipeline.wait_for(|status| status.retries > 100).await);
    assert_eq!(pipeline.status().applied, 0);
    mock.remove_fault(down);
    settled(&database, &pipeline).await;
    assert_eq!((users(&mock).len(), pipeline.status().buried), (30, 0));
}

#[tokio::test]
async fn schema_changes_do_not_stop_the_stream() {
    let (database, mock) = (Database::new().await, mock().await);
    database.user(1).await;
    let mapping = nudj_sync::cdc::UserMapping::new();
    let pipeline =
        builder(database.source().await, database.state().await, &mock).map("late", mapping).start().unwrap();
    caught_up(&pipeline).await;
    database.run("ALTER TABLE users ADD COLUMN bio TEXT; UPDATE users SET bio = 'a text' WHERE id = 1").await;
    settled(&database, &pipeline).await;
    assert_eq!(mock.users()[0]["bio"], "a text");
    database.run("ALTER TABLE users DROP COLUMN bio").await;
    database.user(2).await;
    settled(&database, &pipeline).await;
    assert_eq!(users(&mock).len(), 2);
    // A table that appears while the pipeline runs, with rows from before it was seen.
    database
        .run("CREATE TABLE late (id TEXT PRIMARY KEY, email TEXT); INSERT INTO late VALUES ('l1', 'l1@example.org')")
        .await;
    let wait = async {
        while !users(&mock).contains_key("l1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("taken in");
    // A required column is renamed: new rows are put aside with the reason, the others go on.
    database
        .run("ALTER TABLE users RENAME COLUMN email TO mail; INSERT INTO users VALUES (3, 'u3@example.org', 'three')")
        .await;
    database.run("INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    database.run("UPDATE users SET display_name = 'second' WHERE id = 2").await;
    settled(&database, &pipeline).await;
    let letters = pipeline.state().dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].reason.contains("no column `email`, was it renamed?"), "{}", letters[0].reason);
    assert_eq!(users(&mock)["2"], "second");
    assert_eq!(challenges(&mock).await["Alpha"], 1);
}

#[tokio::test]
async fn stop_lets_calls_end_and_the_next_pipeline_does_the_rest() {
    let (database, mock) = (Database::new().await, mock().await);
    mock.inject(Fault::latency(Duration::from_millis(20)));
    for id in 1..=100 {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    assert!(pipeline.wait_for(|status| status.applied > 0).await);
    assert!(pipeline.stop(Duration::from_secs(10)).await);
    let (made, calls) = (mock.users_count(), mock.request_count());
    assert!((1..100).contains(&made), "{made}");
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len(), 100);
    assert!(mock.request_count() - calls <= 2 * (100 - made as u64) + 64, "what was settled is not done again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_there_once_after_kill_nine_with_a_sick_nudj() {
    let (database, mock) = (Database::new().await, mock().await);
    sick(&mock, 7);
    let engine = Engine::Sqlite { file: database.path(), state: database.state_path() };
    let mut next = 0_u64;
    let killed = child::killed_over_and_over(&engine, &mock, async |round| {
        for _ in 0..child::rows_a_round() {
            next += 1;
            database.user(next).await;
            database.run(format!("INSERT INTO challenges VALUES ('c{next}', 'Title {next}')")).await;
            database.run(format!("UPDATE users SET display_name = 'round {round}' WHERE id = {}", next / 2)).await;
            if next.is_multiple_of(7) {
                database.run(format!("DELETE FROM users WHERE id = {}", next - 3)).await;
                database.run(format!("DELETE FROM challenges WHERE id = 'c{}'", next - 3)).await;
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
    assert_eq!(database.state().await.dead_letter_count().await.unwrap(), 0);
}
