//! PostgreSQL.

use std::time::Duration;

use bytes::Bytes;
use nudj_cache::{
    AsOf, CacheConfig, CacheLevel, Entry, Kind, LevelConfig, MultiLevelCache, PostgresConfig, PostgresLevel,
    SetOptions, Write,
};
use sqlx::Connection;

use crate::level_contract;

/// A database of its own on the test server, or `None` with the reason said.
async fn database(test: &str) -> Option<String> {
    let Ok(url) = std::env::var("NUDJ_TEST_POSTGRES_URL") else {
        crate::left_out(test, "NUDJ_TEST_POSTGRES_URL");
        return None;
    };
    let name = format!("nudj_cache_{}_{}", std::process::id(), fastrand::u64(..));
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let (server, options) = url.split_once('?').map_or((url.as_str(), String::new()), |(s, o)| (s, format!("?{o}")));
    let (server, _) = server.rsplit_once('/').unwrap();
    Some(format!("{server}/{name}{options}"))
}

fn entry() -> Entry {
    Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &["t".to_owned()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_the_contract() {
    let Some(url) = database("postgres_keeps_the_contract").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    level_contract::holds(&level).await;
    level_contract::holds_under_races(&level).await;
}

#[tokio::test]
async fn row_is_gone_at_its_ttl_by_the_servers_clock() {
    let Some(url) = database("row_is_gone_at_its_ttl_by_the_servers_clock").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    let write = Write { ttl: Duration::from_secs(60), as_of: None };
    level.set("k", &entry(), write).await.unwrap();
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE nudj_cache_entries SET expires_at = expires_at - interval '30 seconds'")
        .execute(&mut admin)
        .await
        .unwrap();
    let found = level.get("k").await.unwrap().unwrap();
    assert!(found.remaining <= Duration::from_secs(30));
    assert!(found.entry.age(tokio::time::Instant::now()) >= Duration::from_secs(30));
    sqlx::query("UPDATE nudj_cache_entries SET expires_at = expires_at - interval '30 seconds'")
        .execute(&mut admin)
        .await
        .unwrap();
    assert!(level.get("k").await.unwrap().is_none());
    level.clean_now().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM nudj_cache_entries").fetch_one(&mut admin).await.unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn rows_over_the_limit_are_removed() {
    let Some(url) = database("rows_over_the_limit_are_removed").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig { max_entries: 10, ..PostgresConfig::default() }).unwrap();
    for n in 0..50 {
        let write = Write { ttl: Duration::from_secs(100 + n), as_of: None };
        level.set(&format!("k{n}"), &entry(), write).await.unwrap();
    }
    level.clean_now().await.unwrap();
    for n in 0..50 {
        assert_eq!(level.get(&format!("k{n}")).await.unwrap().is_some(), n >= 40, "k{n}");
    }
}

async fn left(admin: &mut sqlx::PgConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM nudj_cache_entries").fetch_one(admin).await.unwrap()
}

#[tokio::test]
async fn delete_of_a_large_tag_that_is_cut_off_goes_on_from_there() {
    // It was one transaction: cut off in the middle, even its note was taken back, and every repetition began anew.
    let Some(url) = database("delete_of_a_large_tag").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    let before = AsOf::now().earlier(Duration::from_secs(1));
    let write = Write { ttl: Duration::from_secs(60), as_of: None };
    for n in 0..250 {
        level.set(&format!("k{n:03}"), &entry(), write).await.unwrap();
    }
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    let trigger = "CREATE FUNCTION cut_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'cut off'; END $$;
                   CREATE TRIGGER cut_off BEFORE DELETE ON nudj_cache_entries FOR EACH ROW
                   WHEN (OLD.key = 'k249') EXECUTE FUNCTION cut_off()";
    sqlx::raw_sql(trigger).execute(&mut admin).await.unwrap();
    level.delete_tag("t").await.unwrap_err();
    assert_eq!(left(&mut admin).await, 50);
    level.set("late", &entry(), Write { as_of: Some(before), ..write }).await.unwrap();
    assert!(level.get("late").await.unwrap().is_none(), "read before the delete");
    sqlx::raw_sql("DROP TRIGGER cut_off ON nudj_cache_entries").execute(&mut admin).await.unwrap();
    level.delete_tag("t").await.unwrap();
    assert_eq!(left(&mut admin).await, 0);
}

#[tokio::test]
async fn delete_of_a_tag_is_not_done_before_all_is_gone_though_another_removes_some_of_it() {
    let Some(url) = database("delete_of_a_tag_is_not_done_before").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    for n in 0..250 {
        let write = Write { ttl: Duration::from_secs(60), as_of: None };
        level.set(&format!("k{n:03}"), &entry(), write).await.unwrap();
    }
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; DELETE FROM nudj_cache_entries WHERE key = 'k000'").execute(&mut other).await.unwrap();
    let deleting = tokio::spawn(async move { level.delete_tag("t").await });
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut admin).await.unwrap() == 0 {
        assert!(!deleting.is_finished(), "it waits for nothing");
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    deleting.await.unwrap().unwrap();
    assert_eq!(left(&mut admin).await, 0);
}

#[tokio::test]
async fn process_that_only_deletes_does_not_collect_what_it_deleted() {
    let Some(url) = database("process_that_only_deletes").await else { return };
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    let mut admin = sqlx::PgConnection::connect(&url).await.unwrap();
    for n in 0..600 {
        if n == 300 {
            sqlx::query("UPDATE nudj_cache_deletes SET deleted_at = deleted_at - interval '1 hour'")
                .execute(&mut admin)
                .await
                .unwrap();
        }
        level.delete(&format!("k{n}")).await.unwrap();
    }
    // Cleaned in the background.
    let cleaned = async {
        let count = "SELECT count(*) FROM nudj_cache_deletes";
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut admin).await.unwrap() > 300 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), cleaned).await.expect("those of an hour ago are still there");
}

#[tokio::test]
async fn server_that_is_not_there_is_a_miss_and_an_error_only_where_asked_for() {
    // A port that was free a moment ago refuses connections.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://nobody:hidden-word@127.0.0.1:{port}/none");
    let level = PostgresLevel::new(&url, &PostgresConfig::default()).unwrap();
    assert!(!format!("{level:?}").contains("hidden-word"));
    let config = CacheConfig {
        l3: LevelConfig { timeout: Duration::from_millis(50), ..LevelConfig::default() },
        ..CacheConfig::default()
    };
    let cache = MultiLevelCache::builder(config).l3(level).build().unwrap();
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    cache.drop_memory();
    assert!(cache.get::<i32>("k").await.is_none());
    let level = &cache.stats().levels[1];
    assert!(level.errors + level.timeouts >= 1, "{level:?}");

    let error = PostgresLevel::new("postgres://u:hidden-word@h:port/x", &PostgresConfig::default()).unwrap_err();
    assert!(!error.to_string().contains("hidden-word"));
}

#[tokio::test]
async fn limit_of_nothing_is_refused() {
    let none = |config: PostgresConfig| PostgresLevel::new("postgres://u:p@h/x", &config).unwrap_err().to_string();
    let entries = none(PostgresConfig { max_entries: 0, ..PostgresConfig::default() });
    let connections = none(PostgresConfig { max_connections: 0, ..PostgresConfig::default() });
    assert!(entries.contains("postgres.max_entries"), "{entries}");
    assert!(connections.contains("postgres.max_connections"), "{connections}");
}
