//! From PostgreSQL, by a cursor, where a table is not what it was: made anew, with another key, or left out for a while.

use std::time::Duration;

use nudj_mock::MockNudj;
use nudj_sync::cdc::{Change, ChangeSource as _, Pipeline, Position, PostgresSource, Resumed};

use super::{
    fixture::{caught_up, users},
    postgres::{Database, cursor, eventually, run},
};

/// All that there is, and the place behind it.
pub(super) async fn drain(source: &mut PostgresSource) -> (Vec<Change>, Option<Position>) {
    let (mut changes, mut position) = (Vec::new(), None);
    let reading = async {
        loop {
            let batch = source.next(1000).await.unwrap();
            if batch.position.is_none() && !batch.held_back {
                break;
            }
            changes.extend(batch.changes);
            position = batch.position.or(position.take());
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it comes to its end");
    (changes, position)
}

async fn source(database: &Database, tables: &[&str]) -> PostgresSource {
    let source = PostgresSource::with_pool(database.pool.clone(), tables.iter().copied());
    source.poll_interval(Duration::from_millis(5))
}

async fn with_users(database: &Database, mock: &MockNudj) -> Pipeline {
    for id in 1..=8 {
        database.user(id).await;
    }
    let pipeline = database.start(mock).await;
    eventually("all", &pipeline, async || users(mock).len() == 8).await;
    caught_up(&pipeline).await;
    pipeline
}

fn there(mock: &MockNudj) -> Vec<String> {
    users(mock).into_keys().collect()
}

/// The copy leaves a row out, and another goes before there is a trigger again.
const ANEW: &str =
    "CREATE TABLE new_users (LIKE users INCLUDING ALL); INSERT INTO new_users SELECT * FROM users WHERE id <> 7;
    DROP TABLE users; ALTER TABLE new_users RENAME TO users; DELETE FROM users WHERE id = 8";

#[tokio::test]
async fn what_goes_with_a_table_that_is_made_anew_while_no_pipeline_runs_is_deleted() {
    let Some(database) = Database::new("cdc::postgres_anew::stopped").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = with_users(&database, &mock).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    run(&database.pool, ANEW).await;
    let pipeline = database.start(&mock).await;
    eventually("six", &pipeline, async || there(&mock) == ["1", "2", "3", "4", "5", "6"]).await;
    run(&database.pool, "DELETE FROM users WHERE id = 6").await;
    eventually("five", &pipeline, async || there(&mock) == ["1", "2", "3", "4", "5"]).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}

#[tokio::test]
async fn what_goes_with_a_table_that_is_made_anew_under_a_running_pipeline_is_deleted() {
    let Some(database) = Database::new("cdc::postgres_anew::running").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = with_users(&database, &mock).await;
    run(&database.pool, ANEW).await;
    eventually("six", &pipeline, async || there(&mock) == ["1", "2", "3", "4", "5", "6"]).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}

/// Its trigger goes on writing under the name that the table had.
#[tokio::test]
async fn a_table_that_gave_its_name_to_another_is_emptied_without_any_user_being_deleted() {
    let Some(database) = Database::new("cdc::postgres_anew::swapped").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = with_users(&database, &mock).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    run(
        &database.pool,
        "CREATE TABLE new_users (LIKE users INCLUDING ALL); INSERT INTO new_users SELECT * FROM users;
        ALTER TABLE users RENAME TO old_users; ALTER TABLE new_users RENAME TO users",
    )
    .await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    run(&database.pool, "DELETE FROM old_users; INSERT INTO users VALUES (9, 'u9@example.org', 'ninth')").await;
    eventually("the ninth", &pipeline, async || users(&mock).contains_key("9")).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len(), 9);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}

/// Its changes were told to nobody meanwhile.
#[tokio::test]
async fn a_table_that_was_left_out_for_a_while_needs_a_snapshot() {
    let Some(database) = Database::new("cdc::postgres_anew::left_out").await else { return };
    let (all, fewer) = (["users", "challenges"], ["users"]);
    let mut first = source(&database, &all).await;
    first.begin_snapshot().await.unwrap();
    let position = drain(&mut first).await.1.unwrap();
    for (tables, resumed) in [
        (&all[..], Resumed::Yes),
        (&fewer, Resumed::Yes),
        (&all, Resumed::Lost),
        // It stays so until the snapshot is begun.
        (&all, Resumed::Lost),
        (&fewer, Resumed::Yes),
    ] {
        assert_eq!(source(&database, tables).await.resume(&position).await.unwrap(), resumed, "{tables:?}");
    }
    database.remove().await;
}

/// What is told of it until the source says that it has lost the thread.
async fn told_until_lost(source: &mut PostgresSource) -> Vec<Change> {
    let mut told = Vec::new();
    let reading = async {
        loop {
            match source.next(100).await {
                Ok(batch) => told.extend(batch.changes),
                Err(error) => break assert!(error.to_string().contains("another primary key"), "{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it is noticed");
    told
}

/// The code of one is the number of the other.
const CODES: &str = "ALTER TABLE users ADD COLUMN code BIGINT NOT NULL DEFAULT 0; \
    INSERT INTO users (id, email, code) VALUES (1, 'one', 2), (2, 'two', 1)";

#[tokio::test]
async fn a_change_under_another_key_is_told_of_no_other_record() {
    let Some(database) = Database::new("cdc::postgres_anew::another_key").await else { return };
    run(&database.pool, CODES).await;
    let by_code = "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (code)";
    let by_id = "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id)";
    // And back again: what was noted meanwhile is lost all the same.
    for back in [false, true] {
        let mut source = cursor(&database.url).await.0;
        source.begin_snapshot().await.unwrap();
        let position = drain(&mut source).await.1.unwrap();
        run(&database.pool, &format!("{by_code}; UPDATE users SET display_name = 'new' WHERE id = 1")).await;
        if back {
            run(&database.pool, by_id).await;
        }
        assert_eq!(told_until_lost(&mut source).await, []);
        assert_eq!(source.resume(&position).await.unwrap(), Resumed::Lost, "back: {back}");
        source.begin_snapshot().await.unwrap();
        let rows = drain(&mut source).await.0;
        let key = if back { "id" } else { "code" };
        assert!(rows.iter().all(|row| row.record.key.parse().ok() == row.column(key).unwrap().as_i64()), "{rows:?}");
        assert_eq!(rows.len(), 2);
        if !back {
            run(&database.pool, by_id).await;
        }
    }
    database.remove().await;
}

#[tokio::test]
async fn without_its_key_a_table_is_written_and_told_by_the_columns_that_were_it_while_they_are_there() {
    let Some(database) = Database::new("cdc::postgres_anew::no_key").await else { return };
    run(&database.pool, CODES).await;
    let mut source = cursor(&database.url).await.0;
    source.begin_snapshot().await.unwrap();
    drain(&mut source).await;
    run(&database.pool, "ALTER TABLE users DROP CONSTRAINT users_pkey; ALTER TABLE users RENAME id TO number").await;
    run(&database.pool, "UPDATE users SET display_name = 'new' WHERE number = 1").await;
    let told = drain(&mut source).await.0;
    assert_eq!(told.iter().map(|change| change.record.to_string()).collect::<Vec<_>>(), ["users/1"]);
    run(&database.pool, "ALTER TABLE users DROP COLUMN number; UPDATE users SET display_name = 'newer'").await;
    run(&database.pool, "DELETE FROM users; INSERT INTO users (email) VALUES ('three')").await;
    assert_eq!(told_until_lost(&mut source).await, []);
    database.remove().await;
}

/// It numbers its columns otherwise.
#[tokio::test]
async fn a_partition_tells_by_the_key_of_the_whole_table() {
    let Some(database) = Database::new("cdc::postgres_anew::partition").await else { return };
    run(
        &database.pool,
        "CREATE TABLE places (id BIGINT, region TEXT, name TEXT, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE part (gone INT, name TEXT, region TEXT NOT NULL, id BIGINT NOT NULL); ALTER TABLE part DROP COLUMN gone;
        ALTER TABLE places ATTACH PARTITION part FOR VALUES IN ('a')",
    )
    .await;
    let mut source = source(&database, &["places"]).await;
    source.begin_snapshot().await.unwrap();
    drain(&mut source).await;
    run(&database.pool, "INSERT INTO places VALUES (1, 'a', 'x'); UPDATE places SET name = 'y'").await;
    run(&database.pool, "ALTER TABLE places RENAME id TO number; DELETE FROM places").await;
    let told = drain(&mut source).await.0;
    assert_eq!(told.iter().map(|change| change.record.key.as_str()).collect::<Vec<_>>(), [r#"[1,"a"]"#; 3]);
    database.remove().await;
}
