//! What is told, and in which order.

use std::{collections::BTreeMap, time::Duration};

use nudj_mock::MockNudj;
use nudj_sync::cdc::{Batch, ChangeSource as _, LogicalSource, Operation, Resumed};

use super::{
    super::{
        fixture::{caught_up, challenges, users},
        postgres::{eventually, run},
        writers::{Told, Writers},
    },
    Replicated, read, snapshot, source,
};

#[tokio::test]
async fn rows_are_users_from_the_snapshot_to_the_delete() {
    let Some(replicated) = Replicated::new("rows_are_users").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    replicated.database.user(1).await;
    replicated.database.user(2).await;
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock).len(), 2);
    replicated.run("UPDATE users SET display_name = 'second' WHERE id = 1; DELETE FROM users WHERE id = 2").await;
    replicated
        .run("INSERT INTO challenges VALUES ('a', 'Alpha'), ('b', 'Beta'); DELETE FROM challenges WHERE id = 'b'")
        .await;
    replicated.run("BEGIN; INSERT INTO users VALUES (9, 'never@example.org', 'never'); ROLLBACK").await;
    // Columns come, go and are renamed; a row moves to another key.
    replicated
        .run("ALTER TABLE users ADD COLUMN bio TEXT, DROP COLUMN updated_at; UPDATE users SET bio = 'a text'")
        .await;
    replicated
        .run("INSERT INTO users VALUES (3, 'u3@example.org', 'three'); UPDATE users SET id = 30 WHERE id = 3")
        .await;
    let expected = BTreeMap::from([("1".to_owned(), "second".to_owned()), ("30".to_owned(), "three".to_owned())]);
    eventually("stream", &pipeline, async || users(&mock) == expected).await;
    eventually("challenges", &pipeline, async || challenges(&mock).await == BTreeMap::from([("Alpha".into(), 1)]))
        .await;
    assert!(mock.users().iter().any(|user| user["bio"] == "a text"));
    // A row that cannot be mapped is put aside, and those behind it go on.
    replicated
        .run("ALTER TABLE users RENAME COLUMN email TO mail; INSERT INTO users VALUES (4, 'x@example.org', 'x')")
        .await;
    replicated.run("INSERT INTO challenges VALUES ('c', 'Gamma')").await;
    eventually("poison", &pipeline, async || pipeline.status().buried == 1).await;
    eventually("behind it", &pipeline, async || challenges(&mock).await.contains_key("Gamma")).await;
    assert_eq!((pipeline.status().snapshots, pipeline.status().stream_failures), (1, 0), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

#[tokio::test]
async fn emptied_table_deletes_its_users_and_no_others() {
    let Some(replicated) = Replicated::new("emptied_table").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    for id in 1..=70 {
        replicated.database.user(id).await;
    }
    replicated.run("INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    replicated
        .run(
            "BEGIN; INSERT INTO users VALUES (71, 'u@example.org', 'gone too'); TRUNCATE users; \
             INSERT INTO users VALUES (2, 'u2@example.org', 'anew'), (72, 'u72@example.org', 'behind'); COMMIT",
        )
        .await;
    let expected = BTreeMap::from([("2".to_owned(), "anew".to_owned()), ("72".to_owned(), "behind".to_owned())]);
    eventually("emptied", &pipeline, async || users(&mock) == expected).await;
    assert_eq!(challenges(&mock).await.len(), 1);
    assert_eq!(pipeline.status().snapshots, 1);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

/// The snapshot is taken in the midst of the writers: a row is in it or in the stream, and never in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_with_sixteen_writers_around_the_snapshot() {
    let Some(replicated) = Replicated::new("sixteen_writers").await else { return };
    let mut source = replicated.source().await;
    let mut writers = Writers::start(&replicated.database.pool);
    writers.begun().await;
    source.begin_snapshot().await.unwrap();
    writers.may_end();
    let mut told = Told::default();
    let snapshot = read(&mut source, 100, |_, batch| batch.snapshot_complete).await;
    snapshot.into_iter().for_each(|change| told.add(change));
    let in_snapshot = told.users();
    let written = writers.written().await;
    // To the end, of which the source must not speak too early.
    let rest = read(&mut source, 500, |_, batch| *batch == Batch::default()).await;
    rest.into_iter().for_each(|change| told.add(change));
    eprintln!("of {written} rows {in_snapshot} were in the snapshot, {} were lost", written - told.users());
    told.assert_is_all_of(written);
    assert!(in_snapshot < written, "the snapshot came too late to show anything");
    drop(source);
    replicated.remove().await;
}

/// Nor while others write to the server's log without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_before_a_look_is_never_said_not_to_be_there() {
    let Some(replicated) = Replicated::new("never_said_not_to_be_there").await else { return };
    let mut source = replicated.source().await.poll_interval(Duration::ZERO);
    replicated.run("CREATE TABLE noise (number INT)").await;
    snapshot(&mut source).await;
    let pool = replicated.database.pool.clone();
    let noise = tokio::spawn(async move {
        loop {
            run(&pool, "INSERT INTO noise VALUES (1)").await;
        }
    });
    for id in 1..=300 {
        replicated.database.user(id).await;
        let told = read(&mut source, 100, |_, batch| *batch == Batch::default()).await;
        assert_eq!(told.len(), 1, "user {id}");
    }
    noise.abort();
    drop((noise.await, source));
    replicated.remove().await;
}

#[tokio::test]
async fn large_transaction_is_read_in_pieces_and_resumed_within() {
    let Some(replicated) = Replicated::new("large_transaction").await else { return };
    let mut first = replicated.source().await.poll_interval(Duration::from_millis(1));
    assert_eq!(snapshot(&mut first).await.len(), 0);
    replicated.run("INSERT INTO users SELECT n, 'u', 'u' FROM generate_series(1, 20000) n").await;
    let told = read(&mut first, 70, |changes, batch| {
        assert!(*batch != Batch::default(), "it says that there is nothing while the server prepares it");
        changes.len() >= 700
    })
    .await;
    let place = told.last().unwrap().position.clone().unwrap();
    drop(first);
    let mut second = replicated.source().await;
    let resumed = async {
        // The server may need a moment to notice that the first is gone.
        loop {
            if let Ok(resumed) = second.resume(&place).await {
                break resumed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), resumed).await, Ok(Resumed::Yes));
    let rest = read(&mut second, 1000, |changes, _| changes.len() + told.len() >= 20_000).await;
    let keys: Vec<String> = told.into_iter().chain(rest).map(|change| change.record.key).collect();
    assert!(keys.iter().map(|key| key.parse::<u64>().unwrap()).eq(1..=20_000), "once each, in order");
    // Nothing was acknowledged, so the slot still has all of it.
    assert_eq!(replicated.slot("confirmed_flush_lsn <= pg_current_wal_lsn() - 1000000").await.as_deref(), Some("true"));
    drop(second);
    replicated.remove().await;
}

#[tokio::test]
async fn column_that_the_stream_leaves_out_is_there_all_the_same() {
    let Some(replicated) = Replicated::new("left_out").await else { return };
    replicated.run("ALTER TABLE users ADD COLUMN bio TEXT; ALTER TABLE users ALTER bio SET STORAGE EXTERNAL").await;
    replicated.run("INSERT INTO users VALUES (1, 'a@example.org', 'first', NULL, repeat('long ', 2000))").await;
    let mut source = replicated.source().await;
    snapshot(&mut source).await;
    let bio = "long ".repeat(2000);
    // Without the key's old value, with it, and with the whole old row.
    replicated.run("UPDATE users SET display_name = 'second'").await;
    replicated.run("UPDATE users SET id = 2").await;
    replicated.run("ALTER TABLE users REPLICA IDENTITY FULL; UPDATE users SET display_name = 'third'").await;
    replicated.run("UPDATE users SET id = 3; DELETE FROM users").await;
    let changes = read(&mut source, 100, |changes, _| changes.len() >= 7).await;
    let told: Vec<_> = changes.iter().map(|change| (change.operation, change.record.key.as_str())).collect();
    use Operation::{Delete, Insert, Update};
    assert_eq!(
        told,
        [(Update, "1"), (Delete, "1"), (Insert, "2"), (Update, "2"), (Delete, "2"), (Insert, "3"), (Delete, "3")]
    );
    // The row is gone from where it was looked for, or it is there.
    for change in changes[2..].iter().filter(|change| change.operation != Delete && change.record.key != "2") {
        assert_eq!(change.new.as_ref().unwrap()["bio"], bio.as_str(), "{}", change.record);
    }
    replicated.run("INSERT INTO users VALUES (5, 'a@example.org', 'first', NULL, repeat('long ', 2000))").await;
    replicated.run("ALTER TABLE users REPLICA IDENTITY DEFAULT; UPDATE users SET id = 6 WHERE id = 5").await;
    let changes = read(&mut source, 100, |changes, _| changes.len() >= 3).await;
    assert_eq!(changes[2].new.as_ref().unwrap()["bio"], bio.as_str());
    drop(source);
    replicated.remove().await;
}

#[tokio::test]
async fn row_looks_the_same_in_the_snapshot_and_in_the_stream() {
    let Some(replicated) = Replicated::new("looks_the_same").await else { return };
    let columns = "b BOOL, i INT, n NUMERIC, f FLOAT8, j JSONB, t TIMESTAMPTZ, d DATE, a TEXT[], y BYTEA, c CHAR(4), v INTERVAL, m mood";
    replicated
        .run(&format!(
            "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE things (p TEXT, q INT, {columns}, PRIMARY KEY (q, p))"
        ))
        .await;
    let values = "true, 7, 12.50, 0.1, '{\"a\": [1]}', '2026-11-28 17:22:00.5+01', '2026-11-28', '{x,NULL}', '\\xff00', 'ab', '1 day 2 hours', 'good'";
    replicated.run(&format!("INSERT INTO things VALUES ('one''s', 1, {values})")).await;
    let mut source =
        nudj_sync::cdc::LogicalSource::connect(&replicated.database.url, replicated.slot.as_str(), ["things"])
            .await
            .unwrap()
            .poll_interval(Duration::from_millis(20));
    let told = snapshot(&mut source).await;
    replicated.run(&format!("DELETE FROM things; INSERT INTO things VALUES ('one''s', 1, {values})")).await;
    let changes = read(&mut source, 10, |changes, _| changes.len() >= 2).await;
    assert_eq!(told[0].new, changes[1].new);
    assert_eq!(told[0].record, changes[0].record);
    assert_eq!(told[0].record.key, r#"[1,"one's"]"#);
    assert_eq!(told[0].new.as_ref().unwrap()["t"], "2026-11-28T16:22:00.5+00:00");
    drop(source);
    replicated.remove().await;
}

#[tokio::test]
async fn table_that_comes_later_is_taken_in_with_its_rows() {
    let Some(replicated) = Replicated::new("comes_later").await else { return };
    replicated.run("ALTER TABLE challenges RENAME TO not_yet").await;
    let mock = MockNudj::start().await.unwrap();
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.run("ALTER TABLE not_yet RENAME TO challenges; INSERT INTO challenges VALUES ('a', 'Alpha')").await;
    let pipeline = replicated.start(&mock).await;
    eventually("taken in", &pipeline, async || challenges(&mock).await.len() == 1).await;
    run(&replicated.database.pool, "INSERT INTO challenges VALUES ('b', 'Beta')").await;
    eventually("and followed", &pipeline, async || challenges(&mock).await.len() == 2).await;
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    // Another reader of the slot is refused, and says so.
    let (mut one, mut two) = (replicated.source().await, source(&replicated.database.url, &replicated.slot).await);
    snapshot(&mut one).await;
    one.next(1).await.unwrap();
    let refused = two.begin_snapshot().await.unwrap_err();
    assert!(refused.to_string().contains("in use by another connection"), "{refused}");
    drop((one, two));
    replicated.remove().await;
}

#[tokio::test]
async fn source_that_is_to_wait_for_ever_hands_out_what_comes() {
    let Some(replicated) = Replicated::new("source_that_is_to_wait_for_ever").await else { return };
    let mut source = replicated.source().await.poll_interval(Duration::MAX);
    snapshot(&mut source).await;
    replicated.database.user(1).await;
    assert_eq!(read(&mut source, 10, |changes, _| !changes.is_empty()).await.len(), 1);
    drop(source);
    replicated.remove().await;
}

#[tokio::test]
async fn a_name_is_the_table_that_is_called_so_and_no_other() {
    let Some(replicated) = Replicated::new("names").await else { return };
    replicated.run(r#"CREATE TABLE "Users" (id INT PRIMARY KEY); INSERT INTO "Users" VALUES (1)"#).await;
    let source = LogicalSource::connect(&replicated.database.url, &replicated.slot, ["Users", "Challenges"]).await;
    let mut source = source.unwrap().poll_interval(std::time::Duration::from_millis(20));
    let told: Vec<String> = snapshot(&mut source).await.iter().map(|change| change.record.to_string()).collect();
    assert_eq!(told, ["Users/1"]);
    replicated.run(r#"INSERT INTO "Users" VALUES (2)"#).await;
    let told = read(&mut source, 10, |changes, _| !changes.is_empty()).await;
    assert_eq!(told[0].record.to_string(), "Users/2");
    drop(source);
    replicated.remove().await;
}
