//! From an SQLite file to the mock, when what was noted has been lost: a snapshot makes up for it.

use std::time::Duration;

use nudj_mock::Fault;
use nudj_sync::cdc::{CdcConfig, ChangeSource as _, MemoryState, Pipeline, Position, Resumed};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::{
    fixture::{builder, caught_up, config, users},
    sqlite::{Database, mock, named, settled, source},
};

#[tokio::test]
async fn state_that_was_lost_begins_a_snapshot_that_creates_nothing_twice() {
    let (database, mock) = (Database::new().await, mock().await);
    for id in 1..=20 {
        database.user(id).await;
    }
    let pipeline = builder(database.source().await, MemoryState::default(), &mock).start().unwrap();
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    let pipeline = builder(database.source().await, MemoryState::default(), &mock).start().unwrap();
    caught_up(&pipeline).await;
    assert_eq!((users(&mock).len(), pipeline.status().snapshots), (20, 1));
}

#[tokio::test]
async fn change_table_that_was_lost_is_made_up_for_by_a_snapshot_that_also_deletes() {
    let (database, mock) = (Database::new().await, mock().await);
    for id in 1..=10 {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    for trigger in ["insert", "update", "delete"] {
        database.run(format!("DROP TRIGGER nudj_cdc_users_{trigger}")).await;
    }
    database.run("DROP TABLE nudj_changes").await;
    database.run("DROP TRIGGER nudj_cdc_challenges_insert").await;
    // Nobody notes any of this.
    database.run("DELETE FROM users WHERE id <= 5; UPDATE users SET display_name = 'second' WHERE id = 6").await;
    database.user(11).await;
    let half = CdcConfig { max_gone_share: 0.5, ..config() };
    let pipeline = builder(database.source().await, database.state().await, &mock).config(half).start().unwrap();
    caught_up(&pipeline).await;
    let found = users(&mock);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["10", "11", "6", "7", "8", "9"]);
    assert_eq!(found["6"], "second");
}

/// What is left of it is a record that no change will ever name again.
#[tokio::test]
async fn deletion_found_by_a_snapshot_is_made_though_the_process_dies_before_it_got_through() {
    let (database, mock) = (Database::new().await, mock().await);
    database.user(1).await;
    database.user(2).await;
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.run("DROP TABLE nudj_changes; DROP TRIGGER nudj_cdc_users_delete; DELETE FROM users WHERE id = 2").await;
    let down = mock.inject(Fault::status(503).on("DELETE".parse().unwrap(), "/api/v2/admin/users/{id}"));
    let pipeline = database.start(&mock).await;
    assert!(pipeline.wait_for(|status| status.retries > 0 && status.position.is_some()).await);
    drop(pipeline);
    let pipeline = database.start(&mock).await;
    assert!(pipeline.wait_for(|status| status.retries > 0 || status.caught_up).await);
    mock.remove_fault(down);
    caught_up(&pipeline).await;
    assert_eq!(users(&mock), named(&[("1", "first 1")]));
    assert_eq!(pipeline.status().snapshots, 0, "it went on where the other died");
}

/// Twenty users, and then a pipeline with the same state and another database, in which `sql` was run.
async fn moved_to(sql: &str, share: f64) -> (Database, nudj_mock::MockNudj, Database, Pipeline) {
    let (database, mock, other) = (Database::new().await, mock().await, Database::new().await);
    for id in 1..=20 {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    other.run(sql).await;
    let config = CdcConfig { max_gone_share: share, ..config() };
    let builder = builder(other.source().await, database.state().await, &mock).config(config);
    (database, mock, other, builder.start().unwrap())
}

async fn stands_still(pipeline: &Pipeline, why: &str) {
    let told = |error: &Option<String>| error.as_ref().is_some_and(|error| error.contains(why));
    let wait = pipeline.wait_for(|status| status.stream_failures >= 3 && told(&status.last_stream_error));
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), wait).await, Ok(true), "{:?}", pipeline.status());
    let status = pipeline.status();
    assert!(!status.caught_up && status.snapshots == 1, "{status:?}");
}

#[tokio::test]
async fn database_without_the_table_takes_no_user_along() {
    let (database, mock, _other, pipeline) = moved_to("DROP TABLE users", 1.0).await;
    stands_still(&pipeline, "there is no table users, and 20 of its records are at Nudj").await;
    assert_eq!(users(&mock).len(), 20);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len(), 20);
}

const OTHERS: &str = "WITH RECURSIVE ids (id) AS (SELECT 101 UNION ALL SELECT id + 1 FROM ids WHERE id < 200)
    INSERT INTO users SELECT id, 'u' || id || '@example.org', 'other' FROM ids";

/// However many rows of its own it has.
#[tokio::test]
async fn database_with_other_rows_takes_no_user_along() {
    let (_database, mock, _other, pipeline) = moved_to(OTHERS, 0.25).await;
    stands_still(&pipeline, "table users: 20 of 20 records are gone").await;
    let there = users(&mock);
    assert!((1..=20).all(|id: u64| there.contains_key(&id.to_string())));
}

#[tokio::test]
async fn rows_of_another_database_are_all_there_is_where_somebody_has_said_so() {
    let (_database, mock, _other, pipeline) = moved_to(OTHERS, 1.0).await;
    caught_up(&pipeline).await;
    let there = users(&mock);
    assert_eq!((there.len(), there.contains_key("1")), (100, false));
}

/// It has come as far as before, by another way.
#[tokio::test]
async fn database_that_was_put_back_and_has_written_on_is_noticed() {
    let (database, mock, folder) = (Database::new().await, mock().await, tempfile::tempdir().unwrap());
    for id in 1..=20 {
        database.user(id).await;
    }
    let pipeline = database.start(&mock).await;
    caught_up(&pipeline).await;
    let backup = folder.path().join("backup.db");
    database.run(format!("VACUUM INTO '{}'", backup.display())).await;
    for id in 21..=23 {
        database.user(id).await;
    }
    settled(&database, &pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);

    let restored = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&backup)).await.unwrap();
    for id in 101..=110 {
        let insert = format!("INSERT INTO users VALUES ({id}, 'u{id}@example.org', 'later')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&restored).await.unwrap();
    }
    let pipeline = builder(source(&backup).await, database.state().await, &mock).start().unwrap();
    caught_up(&pipeline).await;
    let expected: Vec<u64> = (1..=20).chain(101..=110).collect();
    let mut there: Vec<u64> = users(&mock).keys().map(|id| id.parse().unwrap()).collect();
    there.sort_unstable();
    assert_eq!((there, pipeline.status().snapshots), (expected, 1));
}

#[tokio::test]
async fn place_is_known_again_by_its_note_and_one_of_an_earlier_version_by_its_number() {
    let database = Database::new().await;
    database.user(1).await;
    let mut first = database.source().await;
    first.begin_snapshot().await.unwrap();
    let position = first.next(10).await.unwrap().position.unwrap();
    first.acknowledge(&position).await.unwrap();
    assert_eq!(first.lag().await.unwrap().changes, Some(0));
    let (number, note) = position.as_str().split_once(':').unwrap();
    let wanted = [
        (position.as_str(), Resumed::Yes),
        (number, Resumed::Yes),
        (&format!("{number}:0"), Resumed::Lost),
        (&format!("1:{note}"), Resumed::Lost),
        ("77", Resumed::Lost),
    ];
    for (text, resumed) in wanted {
        let mut source = database.source().await;
        assert_eq!(source.resume(&Position::new(text)).await.unwrap(), resumed, "{text}");
        let waits = u64::from(resumed == Resumed::Lost);
        assert_eq!(source.lag().await.unwrap().changes, Some(waits), "{text}: the note that is kept does not wait");
    }
}
