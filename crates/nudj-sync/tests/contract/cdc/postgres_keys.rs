//! Tables whose key is called otherwise, or is another one.

use std::{collections::BTreeMap, time::Duration};

use nudj_mock::MockNudj;

use super::{
    fixture::{caught_up, users},
    postgres::{Database, eventually, run},
};

fn named<const N: usize>(users: [(&str, &str); N]) -> BTreeMap<String, String> {
    users.map(|(id, name)| (id.to_owned(), name.to_owned())).into()
}

#[tokio::test]
async fn a_key_that_is_renamed_is_the_same_key() {
    let Some(database) = Database::new("cdc::postgres_keys::renamed").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = database.start(&mock).await;
    run(&database.pool, "INSERT INTO users VALUES (1, 'u1@example.org', 'one'), (2, 'u2@example.org', 'two')").await;
    eventually("both", &pipeline, async || users(&mock) == named([("1", "one"), ("2", "two")])).await;
    run(&database.pool, "ALTER TABLE users RENAME COLUMN id TO number").await;
    run(&database.pool, "UPDATE users SET display_name = 'first' WHERE number = 1").await;
    run(&database.pool, "DELETE FROM users WHERE number = 2").await;
    eventually("while it runs", &pipeline, async || users(&mock) == named([("1", "first")])).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    run(&database.pool, "UPDATE users SET display_name = 'again'").await;
    let pipeline = database.start(&mock).await;
    eventually("after a restart", &pipeline, async || users(&mock) == named([("1", "again")])).await;
    caught_up(&pipeline).await;
    assert_eq!((pipeline.status().snapshots, pipeline.status().buried), (0, 0), "{:?}", pipeline.status());
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal";
    let count: i64 = sqlx::query_scalar(triggers).fetch_one(&database.pool).await.unwrap();
    assert_eq!(count, 1);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}

#[tokio::test]
async fn a_table_with_another_key_is_told_anew_and_what_its_records_were_called_is_deleted() {
    let Some(database) = Database::new("cdc::postgres_keys::another").await else { return };
    let mock = MockNudj::start().await.unwrap();
    let pipeline = database.start(&mock).await;
    run(&database.pool, "INSERT INTO users VALUES (1, 'u1@example.org', 'one')").await;
    eventually("one", &pipeline, async || users(&mock) == named([("1", "one")])).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    run(
        &database.pool,
        "ALTER TABLE users ADD COLUMN code BIGINT; UPDATE users SET code = id + 100, email = 'n1@example.org'; ALTER TABLE users DROP CONSTRAINT users_pkey; \
         ALTER TABLE users ADD PRIMARY KEY (code) INCLUDE (email)",
    )
    .await;
    let pipeline = database.start(&mock).await;
    eventually("by the new key", &pipeline, async || users(&mock) == named([("101", "one")])).await;
    run(&database.pool, "UPDATE users SET display_name = 'two', email = 'other@example.org'").await;
    eventually("and that alone", &pipeline, async || users(&mock) == named([("101", "two")])).await;
    caught_up(&pipeline).await;
    assert_eq!(pipeline.status().buried, 0, "{:?}", pipeline.status());
    // Without a key nobody knows which row it is, but it is written.
    run(&database.pool, "ALTER TABLE users DROP CONSTRAINT users_pkey; UPDATE users SET display_name = 'three'").await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    database.remove().await;
}
