//! The embedded database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use nudj_cache::{
    AsOf, CacheConfig, CacheLevel, Entry, Kind, LevelConfig, MultiLevelCache, SetOptions, SqliteConfig, SqliteLevel,
    WallClock, Write,
};

use crate::level_contract;

/// A clock the test turns, in milliseconds.
fn clock() -> (Arc<AtomicU64>, WallClock) {
    let millis = Arc::new(AtomicU64::new(1_800_000_000_000));
    let read = Arc::clone(&millis);
    (millis, WallClock::from_fn(move || UNIX_EPOCH + Duration::from_millis(read.load(Ordering::SeqCst))))
}

fn entry() -> Entry {
    Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &["t".to_owned()])
}

fn for_seconds(seconds: u64) -> Write {
    Write { ttl: Duration::from_secs(seconds), as_of: None }
}

/// Generous, so that no machine is too slow for the assertions.
fn patient() -> CacheConfig {
    let level = LevelConfig { timeout: Duration::from_secs(20), ..LevelConfig::default() };
    CacheConfig { l2: level.clone(), l3: level, ..CacheConfig::default() }
}

#[tokio::test]
async fn sqlite_in_memory_and_in_a_file_keeps_the_contract() {
    let level = SqliteLevel::open(SqliteConfig::default()).await.unwrap();
    level_contract::holds(&level).await;
    level_contract::holds_under_races(&level).await;

    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { path: Some(folder.path().join("cache.db")), ..SqliteConfig::default() };
    let level = SqliteLevel::open(config).await.unwrap();
    level_contract::holds(&level).await;
    level_contract::holds_under_races(&level).await;
}

#[tokio::test]
async fn row_is_gone_at_its_ttl_and_when_the_clock_was_set_back() {
    let (millis, clock) = clock();
    let level = SqliteLevel::open_with_clock(SqliteConfig::default(), clock).await.unwrap();
    level.set("k", &entry(), for_seconds(60)).await.unwrap();
    millis.fetch_add(59_999, Ordering::SeqCst);
    let found = level.get("k").await.unwrap().unwrap();
    assert_eq!(found.remaining, Duration::from_millis(1));
    assert!(found.entry.age(tokio::time::Instant::now()) >= Duration::from_millis(59_999));
    millis.fetch_add(1, Ordering::SeqCst);
    assert!(level.get("k").await.unwrap().is_none());
    millis.fetch_sub(3_600_000, Ordering::SeqCst);
    assert!(level.get("k").await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_stored_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { path: Some(folder.path().join("cache.db")), ..SqliteConfig::default() };
    for round in 0..2 {
        let level = SqliteLevel::open(config.clone()).await.unwrap();
        let cache = MultiLevelCache::builder(patient()).l3(level).build().unwrap();
        if round == 0 {
            cache.set("user:1", "Ada".to_owned(), &SetOptions::default()).await.unwrap();
        } else {
            assert_eq!(*cache.get::<String>("user:1").await.unwrap(), "Ada");
        }
    }
}

#[tokio::test]
async fn two_that_open_a_new_file_at_once_both_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig { path: Some(folder.path().join("cache.db")), ..SqliteConfig::default() };
    let levels = futures_util::future::join_all((0..4).map(|_| SqliteLevel::open(config.clone()))).await;
    for level in levels {
        level.unwrap();
    }
}

#[tokio::test]
async fn who_opens_a_new_file_waits_for_another_as_long_as_for_any_lock() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

    // It gave up after 2 s, though a connection that is open waits 5 s.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let other = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = other.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut open = std::pin::pin!(SqliteLevel::open(SqliteConfig { path: Some(path), ..SqliteConfig::default() }));
    let early = tokio::time::timeout(Duration::from_secs(4), &mut open).await;
    assert!(early.is_err(), "{early:?}");
    other.execute("COMMIT").await.unwrap();
    open.await.unwrap().set("k", &entry(), for_seconds(60)).await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn expired_rows_and_those_over_the_limit_are_removed() {
    let (millis, clock) = clock();
    let config = SqliteConfig { max_entries: 10, ..SqliteConfig::default() };
    let level = SqliteLevel::open_with_clock(config, clock).await.unwrap();
    for n in 0..50 {
        level.set(&format!("k{n}"), &entry(), for_seconds(100 + n)).await.unwrap();
    }
    level.clean_now().await.unwrap();
    let mut left = 0;
    for n in 0..50 {
        let found = level.get(&format!("k{n}")).await.unwrap().is_some();
        assert_eq!(found, n >= 40, "k{n}: those that expire first go");
        left += u32::from(found);
    }
    assert_eq!(left, 10);
    millis.fetch_add(1_000_000, Ordering::SeqCst);
    level.clean_now().await.unwrap();
    millis.fetch_sub(1_000_000, Ordering::SeqCst);
    assert!(level.get("k49").await.unwrap().is_none(), "the row itself is gone");
}

#[tokio::test]
async fn delete_of_a_large_tag_that_is_cut_off_goes_on_from_there() {
    use sqlx::{ConnectOptions as _, Executor as _};

    // It was one transaction: cut off in the middle, even its note was taken back, and every repetition began anew.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let level = SqliteLevel::open(SqliteConfig { path: Some(path.clone()), ..SqliteConfig::default() }).await.unwrap();
    let before = AsOf::now().earlier(Duration::from_secs(1));
    for n in 0..250 {
        level.set(&format!("k{n:03}"), &entry(), for_seconds(60)).await.unwrap();
    }
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let trigger = "CREATE TRIGGER cut_off BEFORE DELETE ON nudj_cache_entries WHEN OLD.key = 'k249'
                   BEGIN SELECT RAISE(ABORT, 'cut off'); END";
    other.execute(trigger).await.unwrap();
    level.delete_tag("t").await.unwrap_err();
    let left = "SELECT count(*) FROM nudj_cache_entries";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut other).await.unwrap(), 50);
    level.set("late", &entry(), Write { as_of: Some(before), ..for_seconds(60) }).await.unwrap();
    assert!(level.get("late").await.unwrap().is_none(), "read before the delete");
    other.execute("DROP TRIGGER cut_off").await.unwrap();
    level.delete_tag("t").await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&mut other).await.unwrap(), 0);
}

#[tokio::test]
async fn process_that_only_deletes_does_not_collect_what_it_deleted() {
    use sqlx::ConnectOptions as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let (millis, clock) = clock();
    let config = SqliteConfig { path: Some(path.clone()), ..SqliteConfig::default() };
    let level = SqliteLevel::open_with_clock(config, clock).await.unwrap();
    for n in 0..600 {
        if n == 300 {
            millis.fetch_add(3_600_000, Ordering::SeqCst);
        }
        level.delete(&format!("k{n}")).await.unwrap();
    }
    // Cleaned in the background.
    let mut reader = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let cleaned = async {
        let count = "SELECT count(*) FROM nudj_cache_deletes";
        while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut reader).await.unwrap() > 300 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), cleaned).await.expect("those of an hour ago are still there");
}

#[tokio::test]
async fn limit_of_no_entries_is_refused() {
    let config = SqliteConfig { max_entries: 0, ..SqliteConfig::default() };
    let error = SqliteLevel::open(config).await.unwrap_err();
    assert!(error.to_string().contains("sqlite.max_entries"), "{error}");
}

#[tokio::test]
async fn file_that_is_no_database_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    std::fs::write(&path, "not a database, and long enough to be told from one").unwrap();
    let error = SqliteLevel::open(SqliteConfig { path: Some(path), ..SqliteConfig::default() }).await.unwrap_err();
    assert!(error.to_string().contains("sqlite"), "{error}");
}
