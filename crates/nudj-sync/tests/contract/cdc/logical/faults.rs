//! What breaks: processes, slots, connections, rights.

use std::{collections::BTreeMap, time::Duration};

use nudj_mock::{Fault, MockNudj};
use nudj_sync::cdc::{CdcConfig, CdcState as _, ChangeSource as _, LogicalError, LogicalSource};

use super::{
    super::{
        child::{self, Engine},
        fixture::{self, builder, caught_up, challenges, sick, users},
        postgres::{cursor, eventually, run},
    },
    Replicated,
    proxy::Proxy,
    snapshot, source, typed,
};

async fn rows(replicated: &Replicated) -> BTreeMap<String, String> {
    let rows: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, display_name FROM users").fetch_all(&replicated.database.pool).await.unwrap();
    rows.into_iter().map(|(id, name)| (id.to_string(), name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_there_once_after_kill_nine_with_a_sick_nudj() {
    let Some(replicated) = Replicated::new("kill_nine").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    sick(&mock, 11);
    let engine = Engine::Logical { url: replicated.database.url.clone(), slot: replicated.slot.clone() };
    let mut next = 0_u64;
    let killed = child::killed_over_and_over(&engine, &mock, async |round| {
        for _ in 0..child::rows_a_round() {
            next += 1;
            replicated.database.user(next).await;
            replicated.run(&format!("INSERT INTO challenges VALUES ('c{next}', 'Title {next}')")).await;
            replicated.run(&format!("UPDATE users SET display_name = 'round {round}' WHERE id = {}", next / 2)).await;
            if next.is_multiple_of(7) {
                replicated
                    .run(&format!(
                        "DELETE FROM users WHERE id = {0}; DELETE FROM challenges WHERE id = 'c{0}'",
                        next - 3
                    ))
                    .await;
            }
        }
    })
    .await;
    assert!(killed >= child::kills() / 2, "killed while at work: {killed}");
    assert_eq!(users(&mock), rows(&replicated).await);
    let titles: Vec<String> =
        sqlx::query_scalar("SELECT title FROM challenges").fetch_all(&replicated.database.pool).await.unwrap();
    assert_eq!(challenges(&mock).await, titles.into_iter().map(|title| (title, 1)).collect());
    let (_, state) = cursor(&replicated.database.url).await;
    assert_eq!(state.dead_letter_count().await.unwrap(), 0);
    replicated.remove().await;
}

#[tokio::test]
async fn slot_that_was_thrown_away_is_made_up_for_with_no_difference() {
    let Some(replicated) = Replicated::alone("thrown_away").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    for id in 1..=40 {
        replicated.database.user(id).await;
    }
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    // Once while nobody reads, once under a pipeline that Nudj holds up.
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.run("DELETE FROM users WHERE id <= 10; UPDATE users SET display_name = 'second' WHERE id > 30").await;
    throw_away(&replicated).await;
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    assert_eq!(users(&mock), rows(&replicated).await);
    assert_eq!(pipeline.status().snapshots, 1);

    mock.inject(Fault::status(503));
    replicated.run("DELETE FROM users WHERE id <= 20; UPDATE users SET display_name = 'third' WHERE id > 35").await;
    let is_stuck = pipeline.wait_for(|status| status.retries > 10);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), is_stuck).await, Ok(true));
    throw_away(&replicated).await;
    replicated.run("DELETE FROM users WHERE id = 40; INSERT INTO users VALUES (41, 'u41@example.org', 'new')").await;
    mock.clear_faults();
    eventually("made up for", &pipeline, async || users(&mock) == rows(&replicated).await).await;
    eventually("another snapshot", &pipeline, async || pipeline.status().snapshots == 2).await;
    replicated.database.user(42).await;
    eventually("and goes on", &pipeline, async || users(&mock).contains_key("42")).await;
    assert_eq!(users(&mock), rows(&replicated).await);
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

/// Lets the log grow past what slots may keep.
async fn throw_away(replicated: &Replicated) {
    let admin = &replicated.database.admin;
    run(admin, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").await;
    run(admin, "SELECT pg_reload_conf()").await;
    let lost = async {
        while replicated.slot("wal_status").await.as_deref() != Some("lost") {
            // A segment of the log, however little is in it.
            run(admin, "SELECT pg_logical_emit_message(false, 'nudj', 'x'), pg_switch_wal()").await;
            run(admin, "CHECKPOINT").await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), lost).await.expect("the slot is thrown away");
    run(admin, "ALTER SYSTEM RESET max_slot_wal_keep_size").await;
    run(admin, "SELECT pg_reload_conf()").await;
}

#[tokio::test]
async fn database_that_goes_down_and_comes_back_loses_nothing() {
    let Some(replicated) = Replicated::new("goes_down").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let proxy = Proxy::new(&replicated.database.url, "never said", "never said").await;
    replicated.database.user(1).await;
    let (_, state) = cursor(&proxy.url).await;
    let pipeline = builder(source(&proxy.url, &replicated.slot).await, state, &mock).start().unwrap();
    caught_up(&pipeline).await;
    for round in 1..=3_u64 {
        proxy.cut();
        replicated.database.user(round * 10).await;
        replicated.run(&format!("UPDATE users SET display_name = 'round {round}'")).await;
        let noticed = pipeline.wait_for(|status| status.stream_failures >= round * 3);
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), noticed).await, Ok(true), "{:?}", pipeline.status());
        proxy.mend();
        let expected = rows(&replicated).await;
        eventually("it comes back", &pipeline, async || users(&mock) == expected).await;
    }
    assert_eq!(pipeline.status().snapshots, 1, "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

#[tokio::test]
async fn server_hears_of_a_place_only_when_nudj_has_what_is_before_it() {
    let Some(replicated) = Replicated::new("hears_of").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let pipeline = replicated.start(&mock).await;
    caught_up(&pipeline).await;
    mock.inject(Fault::status(503));
    let before: String =
        sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&replicated.database.pool).await.unwrap();
    replicated.database.user(1).await;
    // So long that a source that acknowledges what it read would have: the server is told once a second.
    let tried = async {
        let mut status = pipeline.status();
        while status.retries < 30 || replicated.slot("active").await.is_none_or(|active| active != "true") {
            tokio::time::sleep(Duration::from_millis(10)).await;
            status = pipeline.status();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), tried).await.expect("it tries");
    let is_before = format!("confirmed_flush_lsn <= '{before}'");
    assert_eq!(replicated.slot(&is_before).await.as_deref(), Some("true"));
    mock.clear_faults();
    let told = async || replicated.slot(&is_before).await.as_deref() == Some("false");
    eventually("the server hears of it", &pipeline, told).await;
    assert!(users(&mock).contains_key("1"));
    let place = pipeline.status().position.unwrap();
    let place = place.as_str().split(':').next().unwrap();
    assert_eq!(replicated.slot(&format!("confirmed_flush_lsn <= '{place}'")).await.as_deref(), Some("true"));
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

/// FINDINGS of the project, section 2, row 22. `NUDJ_TEST_WAL_MB=100` is the full measure.
#[tokio::test]
async fn lag_is_the_log_that_the_server_keeps() {
    let Some(replicated) = Replicated::new("lag").await else { return };
    let megabytes = std::env::var("NUDJ_TEST_WAL_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(8_u64);
    let mock = MockNudj::start().await.unwrap();
    let (_, state) = cursor(&replicated.database.url).await;
    // No room for anything more while Nudj takes nothing: the lag must be seen all the same.
    let config = CdcConfig { window: 1, ..fixture::config() };
    let pipeline = builder(replicated.source().await, state, &mock).config(config).start().unwrap();
    caught_up(&pipeline).await;
    mock.inject(Fault::status(503));
    // What others write counts: the server keeps that too.
    replicated.run("CREATE TABLE noise (text TEXT)").await;
    replicated.database.user(1).await;
    let is_stuck = pipeline.wait_for(|status| status.retries > 3 && status.waiting == 1);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), is_stuck).await, Ok(true));
    let kept = "pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8";
    let before: u64 = replicated.slot(kept).await.unwrap().parse().unwrap();
    for _ in 0..megabytes {
        replicated
            .run("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1000); TRUNCATE noise")
            .await;
    }
    let written: u64 = replicated.slot(kept).await.unwrap().parse().unwrap();
    let measured = pipeline.wait_for(|status| status.lag.bytes.is_some_and(|bytes| bytes >= written));
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), measured).await, Ok(true), "{:?}", pipeline.status());
    let (gauge, after) = (pipeline.status().lag.bytes.unwrap(), replicated.slot(kept).await.unwrap());
    let after: u64 = after.parse().unwrap();
    eprintln!("{} bytes were written, the gauge says {gauge}, the slot keeps {written} to {after}", written - before);
    assert!(written - before >= megabytes * 1_000_000);
    assert!(gauge <= after);
    assert!(pipeline.status().lag.seconds.is_some_and(|seconds| seconds > 0.0), "{:?}", pipeline.status());
    mock.clear_faults();
    caught_up(&pipeline).await;
    let no_age = pipeline.wait_for(|status| status.lag.seconds == Some(0.0));
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), no_age).await, Ok(true), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

#[tokio::test]
async fn row_that_is_too_large_for_the_stream_is_read_by_a_snapshot() {
    let Some(replicated) = Replicated::new("too_large").await else { return };
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    let (_, state) = cursor(&replicated.database.url).await;
    let source = replicated.source().await.max_row_bytes(20_000);
    let pipeline = builder(source, state, &mock).start().unwrap();
    caught_up(&pipeline).await;
    replicated.run("INSERT INTO users VALUES (1, 'u1@example.org', repeat('x', 30000))").await;
    replicated.database.user(2).await;
    eventually("both", &pipeline, async || users(&mock).len() == 2).await;
    let snapshots = pipeline.wait_for(|status| status.snapshots == 2);
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), snapshots).await, Ok(true), "{:?}", pipeline.status());
    assert!(pipeline.stop(Duration::from_secs(5)).await);
    replicated.remove().await;
}

#[tokio::test]
async fn what_the_server_lacks_is_said_with_the_way_out() {
    let Some(replicated) = Replicated::new("lacks").await else { return };
    let url = &replicated.database.url;
    let proxy = Proxy::new(url, "logical", "replica").await;
    let error = LogicalSource::connect(&proxy.url, replicated.slot.as_str(), ["users"]).await.unwrap_err();
    assert!(matches!(typed(&error), LogicalError::WalLevel { found } if found == "replica"), "{error:?}");
    assert!(
        error.to_string().contains("`wal_level = logical`") && error.to_string().contains("PostgresSource"),
        "{error}"
    );

    let role = format!("r_{}", replicated.slot);
    run(&replicated.database.admin, &format!("CREATE ROLE {role} LOGIN PASSWORD 'hush hush'")).await;
    let (front, back) = url.split_once("postgres@").unwrap();
    let theirs = format!("{front}{role}:hush%20hush@{back}");
    let error = LogicalSource::connect(&theirs, replicated.slot.as_str(), ["users"]).await.unwrap_err();
    assert!(
        matches!(typed(&error), LogicalError::NoReplicationRight { role: found, .. } if *found == role),
        "{error:?}"
    );
    assert!(error.to_string().contains("REPLICATION") && error.to_string().contains("PostgresSource"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hush"));
    run(&replicated.database.admin, &format!("ALTER ROLE {role} REPLICATION")).await;
    let source = LogicalSource::connect(&theirs, replicated.slot.as_str(), ["users"]).await.unwrap();
    assert!(!format!("{source:?}").contains("hush"), "{source:?}");
    run(&replicated.database.admin, &format!("DROP ROLE {role}")).await;

    let error = LogicalSource::connect(url, "Not a name", ["users"]).await.unwrap_err();
    assert!(error.to_string().contains("cdc.slot"), "{error}");
    for (table, problem) in [
        ("CREATE TABLE t (a INT)", "no primary key"),
        ("CREATE TABLE t (a INT PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING", "NOTHING"),
    ] {
        replicated.run(table).await;
        let mut source = LogicalSource::connect(url, replicated.slot.as_str(), ["t"]).await.unwrap();
        let error = source.begin_snapshot().await.unwrap_err();
        assert!(matches!(typed(&error), LogicalError::Table { .. }) && error.to_string().contains(problem), "{error}");
        replicated.run("DROP TABLE t").await;
    }
    replicated.remove().await;
}

#[tokio::test]
async fn slot_of_somebody_else_is_left_alone_and_a_place_that_never_was_is_lost() {
    let Some(replicated) = Replicated::new("somebody_else").await else { return };
    let create = format!("SELECT pg_create_logical_replication_slot('{}', 'test_decoding')", replicated.slot);
    let has_plugin = sqlx::query(sqlx::AssertSqlSafe(create)).execute(&replicated.database.pool).await.is_ok();
    let mut source = replicated.source().await;
    if has_plugin {
        let error = source.begin_snapshot().await.unwrap_err();
        assert!(matches!(typed(&error), LogicalError::ForeignSlot { .. }), "{error:?}");
        run(&replicated.database.pool, &format!("SELECT pg_drop_replication_slot('{}')", replicated.slot)).await;
    }
    snapshot(&mut source).await;
    for place in ["FFFFFFF/0", "0/1", "nonsense"] {
        let resumed = source.resume(&nudj_sync::cdc::Position::new(place)).await.unwrap();
        assert_eq!(resumed, nudj_sync::cdc::Resumed::Lost, "{place}");
    }
    drop(source);
    replicated.remove().await;
}
