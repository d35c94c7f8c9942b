//! From PostgreSQL, by a cursor, where the database is not what it was, or holds what JSON hardly does.

use std::time::Duration;

use nudj_mock::MockNudj;
use nudj_sync::cdc::PostgresState;

use super::{
    fixture::{builder, caught_up, users},
    postgres::{Database, cursor, eventually, run},
};

/// It has come as far as before, by another way.
#[tokio::test]
async fn database_that_was_put_back_and_has_written_on_is_noticed() {
    let Some(database) = Database::new("cdc::postgres_lost::put_back").await else { return };
    let Some(elsewhere) = Database::new("cdc::postgres_lost::put_back").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let start = async || {
        let state = PostgresState::with_pool(elsewhere.pool.clone(), "test").await.unwrap();
        builder(cursor(&database.url).await.0, state, &mock).start().unwrap()
    };
    for id in 1..=20 {
        database.user(id).await;
    }
    let pipeline = start().await;
    eventually("snapshot", &pipeline, async || users(&mock).len() == 20).await;
    caught_up(&pipeline).await;
    run(&database.pool, "CREATE TABLE kept_users AS TABLE users; CREATE TABLE kept_changes AS TABLE nudj_changes")
        .await;
    let last: i64 = sqlx::query_scalar("SELECT max(id) FROM nudj_changes").fetch_one(&database.pool).await.unwrap();
    for id in 21..=23 {
        database.user(id).await;
    }
    eventually("three more", &pipeline, async || users(&mock).len() == 23).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);

    let put_back = format!(
        "BEGIN; ALTER TABLE users DISABLE TRIGGER USER; TRUNCATE users, nudj_changes;
         INSERT INTO users TABLE kept_users; INSERT INTO nudj_changes OVERRIDING SYSTEM VALUE TABLE kept_changes;
         SELECT setval(pg_get_serial_sequence('nudj_changes', 'id'), {last}); ALTER TABLE users ENABLE TRIGGER USER; COMMIT"
    );
    run(&database.pool, &put_back).await;
    for id in 101..=110 {
        database.user(id).await;
    }
    let pipeline = start().await;
    let expected: Vec<u64> = (1..=20).chain(101..=110).collect();
    eventually("made up for", &pipeline, async || {
        let mut there: Vec<u64> = users(&mock).keys().map(|id| id.parse().unwrap()).collect();
        there.sort_unstable();
        there == expected
    })
    .await;
    assert_eq!(pipeline.status().snapshots, 1);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    elsewhere.remove().await;
    database.remove().await;
}

#[tokio::test]
async fn row_that_is_nested_too_deep_or_has_too_large_a_number_stops_nothing() {
    let Some(database) = Database::new("cdc::postgres_lost::hard_to_read").await else { return };
    let mock = MockNudj::start().await.unwrap();
    run(&database.pool, "ALTER TABLE users ADD COLUMN data JSONB, ADD COLUMN amount NUMERIC").await;
    let (source, state) = cursor(&database.url).await;
    let pipeline = builder(source, state, &mock).start().unwrap();
    caught_up(&pipeline).await;
    let rows = "INSERT INTO users (id, email, display_name, data, amount) VALUES \
                (1, 'u1@example.org', 'deep', (repeat('[', 500) || repeat(']', 500))::jsonb, NULL), \
                (2, 'u2@example.org', 'large', NULL, 1e400), (3, 'u3@example.org', 'plain', '{}', 1)";
    run(&database.pool, rows).await;
    eventually("all of them", &pipeline, async || users(&mock).len() == 3).await;
    assert_eq!(pipeline.status().buried, 0);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}
