//! From an SQLite file to the mock, where a table is not what it was: made anew, as tools migrate, with another key, or left out for a while.

use std::time::Duration;

use nudj_mock::MockNudj;
use nudj_sync::cdc::{ChangeSource as _, Operation, Pipeline, Resumed, SqliteSource};

use super::{
    fixture::{caught_up, users},
    sqlite::{Database, mock, named},
};

async fn with_users(count: u64) -> (Database, MockNudj, Pipeline) {
    let (database, mock) = (Database::new().await, mock().await);
    for id in 1..=count {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len() as u64, count);
    (database, mock, pipeline)
}

/// The copy leaves a row out, and another goes before there are triggers again.
const ANEW: &str = "BEGIN; CREATE TABLE new_users (id INTEGER PRIMARY KEY, email TEXT, display_name TEXT);
    INSERT INTO new_users SELECT * FROM users WHERE id <> 7; DROP TABLE users; ALTER TABLE new_users RENAME TO users;
    DELETE FROM users WHERE id = 8; UPDATE users SET display_name = 'second' WHERE id = 1; COMMIT";

fn there(mock: &MockNudj) -> Vec<String> {
    users(mock).into_keys().collect()
}

#[tokio::test]
async fn what_goes_with_a_table_that_is_made_anew_while_no_pipeline_runs_is_deleted() {
    let (database, mock, pipeline) = with_users(8).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.run(ANEW).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(there(&mock), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(users(&mock)["1"], "second");
    // And the triggers are there.
    database.run("DELETE FROM users WHERE id = 6").await;
    let gone = pipeline.wait_for(|status| status.applied == 9);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), gone).await, Ok(true), "{:?}", pipeline.status());
    assert_eq!(there(&mock), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn what_goes_with_a_table_that_is_made_anew_under_a_running_pipeline_is_deleted() {
    let (database, mock, pipeline) = with_users(8).await;
    database.run(ANEW).await;
    let again = pipeline.wait_for(|status| status.snapshots == 2 && status.caught_up);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), again).await, Ok(true), "{:?}", pipeline.status());
    assert_eq!(there(&mock), ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_table_with_another_key_is_told_anew_and_what_its_records_were_called_is_deleted() {
    let (database, mock, pipeline) = with_users(1).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database
        .run(
            "CREATE TABLE new_users (code TEXT PRIMARY KEY, email TEXT, display_name TEXT);
            INSERT INTO new_users SELECT 'c' || id, 'other@example.org', display_name FROM users;
            DROP TABLE users; ALTER TABLE new_users RENAME TO users",
        )
        .await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock), named(&[("c1", "first 1")]));
}

#[tokio::test]
async fn deletion_is_handed_out_though_its_table_has_gone_since() {
    let database = Database::new().await;
    database
        .run("CREATE TABLE late (id TEXT PRIMARY KEY, email TEXT); INSERT INTO late VALUES ('a', ''), ('b', '')")
        .await;
    let mut source = database.source().await;
    source.begin_snapshot().await.unwrap();
    assert_eq!(source.next(10).await.unwrap().changes.len(), 2);
    database.run("DELETE FROM late WHERE id = 'a'; DROP TABLE late").await;
    let batch = source.next(10).await.unwrap();
    let told: Vec<_> = batch.changes.iter().map(|change| (change.record.to_string(), change.operation)).collect();
    assert_eq!(told, [("late/a".to_owned(), Operation::Delete)]);
    assert_eq!(batch.changes[0].old, None);
}

/// Its changes were told to nobody meanwhile.
#[tokio::test]
async fn a_table_that_was_left_out_for_a_while_needs_a_snapshot() {
    let database = Database::new().await;
    let open = async |tables: &[&str]| {
        SqliteSource::open(database.path(), tables.iter().copied())
            .await
            .unwrap()
            .poll_interval(Duration::from_millis(5))
    };
    let (all, fewer) = (["users", "challenges"], ["users"]);
    let mut source = open(&all).await;
    source.begin_snapshot().await.unwrap();
    let position = source.next(10).await.unwrap().position.unwrap();
    for (tables, resumed) in [
        (&all[..], Resumed::Yes),
        (&fewer, Resumed::Yes),
        (&all, Resumed::Lost),
        // It stays so until the snapshot is begun.
        (&all, Resumed::Lost),
        (&fewer, Resumed::Yes),
    ] {
        assert_eq!(open(tables).await.resume(&position).await.unwrap(), resumed, "{tables:?}");
    }
    let mut source = open(&all).await;
    source.begin_snapshot().await.unwrap();
    let position = source.next(10).await.unwrap().position.unwrap();
    assert_eq!(open(&all).await.resume(&position).await.unwrap(), Resumed::Yes);
}
