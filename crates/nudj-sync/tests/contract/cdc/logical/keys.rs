//! Tables whose key is called otherwise, is another one, or is none for the log.

use std::time::Duration;

use nudj_mock::MockNudj;
use nudj_sync::cdc::{
    CdcConfig, ChangeSource as _, LogicalError, LogicalSource,
    Operation::{Delete, Insert, Update},
    Position, Resumed,
};

use super::{
    super::{
        fixture::{self, builder, caught_up, users},
        postgres::{cursor, eventually},
        sqlite::named,
    },
    Replicated, read, snapshot, typed,
};

async fn of_things(replicated: &Replicated) -> LogicalSource {
    let source = LogicalSource::connect(&replicated.database.url, replicated.slot.as_str(), ["things"]).await.unwrap();
    source.poll_interval(Duration::from_millis(20))
}

/// Takes a snapshot to its end, and reads from there on until a place is told.
async fn place_behind_the_snapshot(source: &mut LogicalSource) -> Position {
    source.begin_snapshot().await.unwrap();
    let reading = async {
        loop {
            if let Some(place) = source.next(100).await.unwrap().position {
                return place;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("it ends")
}

/// The server may need a moment to notice that the stream before is gone.
async fn resumed(source: &mut LogicalSource, place: &Position) -> Resumed {
    let resuming = async {
        loop {
            if let Ok(resumed) = source.resume(place).await {
                return resumed;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), resuming).await.expect("it is answered")
}

/// PostgreSQL takes no such index for what a row is known by: once the table is published, the application could change no row of it.
#[tokio::test]
async fn table_with_a_deferrable_key_is_refused_before_its_writers_are() {
    let Some(replicated) = Replicated::new("keys::deferrable").await else { return };
    replicated.run("CREATE TABLE things (id INT PRIMARY KEY DEFERRABLE, a INT NOT NULL UNIQUE)").await;
    replicated.run("INSERT INTO things VALUES (1, 1), (2, 2)").await;
    let mut source = of_things(&replicated).await;
    let error = source.begin_snapshot().await.unwrap_err();
    assert!(matches!(typed(&error), LogicalError::Table { .. }) && error.to_string().contains("deferrable"), "{error}");
    replicated.run("UPDATE things SET a = 3 WHERE id = 1; DELETE FROM things WHERE id = 2").await;
    replicated.run("ALTER TABLE things REPLICA IDENTITY FULL").await;
    assert_eq!(snapshot(&mut source).await.len(), 1);
    replicated.run("UPDATE things SET a = 4; DELETE FROM things").await;
    let changes = read(&mut source, 10, |changes, _| changes.len() >= 2).await;
    assert!(changes.iter().all(|change| change.record.key == "1"), "{changes:?}");
    // Nor does it keep in the log what an index has beside its key.
    replicated
        .run(
            "CREATE UNIQUE INDEX beside ON things (a) INCLUDE (id); ALTER TABLE things REPLICA IDENTITY USING INDEX beside",
        )
        .await;
    let error = source.begin_snapshot().await.unwrap_err();
    assert!(error.to_string().contains("lacks the primary key"), "{error}");
    drop(source);
    replicated.remove().await;
}

/// The row with the number 7 in its new key is none that was ever called 7.
#[tokio::test]
async fn deletion_by_another_key_is_not_taken_for_one_of_the_record_of_that_number() {
    let Some(replicated) = Replicated::new("keys::another").await else { return };
    replicated.run("CREATE TABLE things (id INT PRIMARY KEY, name TEXT, code INT NOT NULL)").await;
    replicated.run("INSERT INTO things VALUES (5, 'five', 7), (7, 'seven', 5)").await;
    let mut source = of_things(&replicated).await;
    let place = place_behind_the_snapshot(&mut source).await;
    replicated.run("ALTER TABLE things DROP CONSTRAINT things_pkey, ADD PRIMARY KEY (code)").await;
    replicated.run("DELETE FROM things WHERE id = 5").await;
    let told = async {
        loop {
            match source.next(10).await {
                Ok(batch) => assert_eq!(batch.changes, [], "of a record that nobody knows"),
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told");
    assert!(matches!(typed(&error), LogicalError::Broken { .. }), "{error:?}");
    // However often it is asked: the snapshot may fail, or what comes before it.
    assert_eq!(source.resume(&place).await.unwrap(), Resumed::Lost);
    assert_eq!(source.resume(&place).await.unwrap(), Resumed::Lost);
    let told = snapshot(&mut source).await;
    assert_eq!(told.iter().map(|change| change.record.key.as_str()).collect::<Vec<_>>(), ["5"]);
    drop(source);
    replicated.remove().await;
}

#[tokio::test]
async fn place_of_another_key_is_lost_and_one_of_the_same_key_is_not() {
    let Some(replicated) = Replicated::new("keys::place").await else { return };
    replicated.run("CREATE TABLE things (id INT PRIMARY KEY, code INT NOT NULL)").await;
    let mut source = of_things(&replicated).await;
    let place = place_behind_the_snapshot(&mut source).await;
    replicated.run("INSERT INTO things VALUES (5, 7)").await;
    let changes = read(&mut source, 10, |changes, _| !changes.is_empty()).await;
    let within = changes[0].position.clone().unwrap();
    drop(source);
    // As it was written before keys were noted with it.
    let (old, _) = place.as_str().split_once(':').unwrap();
    let (old_within, _) = within.as_str().rsplit_once(':').unwrap();
    let places = [place.clone(), Position::new(old), within.clone(), Position::new(old_within)];
    replicated.run("ALTER TABLE things RENAME COLUMN id TO number; ALTER TABLE things ADD COLUMN more INT").await;
    for place in &places {
        let mut source = of_things(&replicated).await;
        assert_eq!(resumed(&mut source, place).await, Resumed::Yes, "{place}");
    }
    replicated.run("ALTER TABLE things DROP CONSTRAINT things_pkey, ADD PRIMARY KEY (code)").await;
    for place in [place, within] {
        let mut source = of_things(&replicated).await;
        assert_eq!(resumed(&mut source, &place).await, Resumed::Lost, "{place}");
    }
    replicated.remove().await;
}

/// In the stream that is open, and in what a later one still reads of before; the key is told alone, or with the whole row.
#[tokio::test]
async fn key_that_is_renamed_goes_on_naming_the_same_records() {
    for identity in ["DEFAULT", "FULL"] {
        let Some(replicated) = Replicated::new("keys::renamed").await else { return };
        replicated.run("CREATE TABLE things (a TEXT, p TEXT, q INT, PRIMARY KEY (q, p))").await;
        replicated.run(&format!("ALTER TABLE things REPLICA IDENTITY {identity}")).await;
        let mut source = of_things(&replicated).await;
        let place = place_behind_the_snapshot(&mut source).await;
        replicated.run("INSERT INTO things VALUES ('a', 'p', 1)").await;
        replicated.run("ALTER TABLE things RENAME p TO x; ALTER TABLE things RENAME q TO y").await;
        replicated.run("UPDATE things SET a = 'b'; UPDATE things SET y = 2; DELETE FROM things").await;
        let expected = [(Insert, 1), (Update, 1), (Delete, 1), (Insert, 2), (Delete, 2)];
        for _ in 0..2 {
            let changes = read(&mut source, 10, |changes, _| changes.len() >= 5).await;
            let told: Vec<_> = changes.iter().map(|change| (change.operation, change.record.key.clone())).collect();
            assert_eq!(told, expected.map(|(operation, key)| (operation, format!("[{key},\"p\"]"))), "{identity}");
            drop(source);
            source = of_things(&replicated).await;
            assert_eq!(resumed(&mut source, &place).await, Resumed::Yes);
        }
        drop(source);
        replicated.remove().await;
    }
}

#[tokio::test]
async fn users_of_another_key_are_told_anew_by_a_pipeline() {
    let Some(replicated) = Replicated::new("keys::pipeline").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    replicated.run("ALTER TABLE users ADD COLUMN code BIGINT NOT NULL DEFAULT 7").await;
    replicated.run("INSERT INTO users VALUES (5, 'u5@example.org', 'five'), (7, 'u7@example.org', 'seven')").await;
    replicated.run("UPDATE users SET code = 9 WHERE id = 7").await;
    let (_, state) = cursor(&replicated.database.url).await;
    let config = CdcConfig { max_gone_share: 1.0, ..fixture::config() };
    let pipeline = builder(replicated.source().await, state, &mock).config(config).start().unwrap();
    caught_up(&pipeline).await;
    replicated.run("ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (code)").await;
    replicated.run("DELETE FROM users WHERE id = 5").await;
    eventually("told anew", &pipeline, async || users(&mock) == named(&[("9", "seven")])).await;
    assert_eq!(pipeline.status().snapshots, 2, "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

/// The server says their base in the snapshot, and the domain itself in the stream.
#[tokio::test]
async fn column_of_a_domain_looks_the_same_in_the_snapshot_and_in_the_stream() {
    let Some(replicated) = Replicated::new("keys::domain").await else { return };
    replicated
        .run(
            "CREATE DOMAIN number AS BIGINT; CREATE DOMAIN tenant AS number CHECK (VALUE > 0); CREATE DOMAIN yes AS BOOL; \
             CREATE DOMAIN moment AS TIMESTAMPTZ; CREATE DOMAIN word AS TEXT; CREATE DOMAIN document AS JSONB",
        )
        .await;
    replicated
        .run("CREATE TABLE things (t tenant, id INT, y yes, m moment, w word, d document, PRIMARY KEY (t, id))")
        .await;
    let values = "(1, 2, true, '2026-11-28 17:22:00+00', '12', '{\"a\": 1}')";
    replicated.run(&format!("INSERT INTO things VALUES {values}")).await;
    let mut source = of_things(&replicated).await;
    let told = snapshot(&mut source).await;
    replicated.run(&format!("DELETE FROM things; INSERT INTO things VALUES {values}")).await;
    let changes = read(&mut source, 10, |changes, _| changes.len() >= 2).await;
    assert_eq!(told[0].record.key, "[1,2]");
    assert_eq!((&told[0].record, &told[0].record), (&changes[0].record, &changes[1].record));
    assert_eq!(told[0].new, changes[1].new);
    drop(source);
    replicated.remove().await;
}
