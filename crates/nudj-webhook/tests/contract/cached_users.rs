//! `user.updated` arrives, and the cache forgets the user.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use nudj_cache::{CacheConfig, CacheLevel, Entry, Found, LevelError, MultiLevelCache, SetOptions, Write};
use nudj_webhook::{InvalidateUser, Receiver};

use crate::harness::{Clock, NUDJ_SECRET, USER_UPDATED, config, delivery, eventually, send};

fn receiver(cache: MultiLevelCache) -> Receiver {
    Receiver::builder()
        .config(config())
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on("user.updated", InvalidateUser::new(cache))
        .build()
        .unwrap()
}

/// Reads the user through the cache; `origin` is what Nudj would say now.
pub(crate) async fn read(cache: &MultiLevelCache, key: &str, origin: u32) -> u32 {
    let options = SetOptions::default().tag("user:u-1");
    let load = async || Ok::<_, Infallible>(origin);
    *cache.get_or_load(key, &options, load).await.unwrap()
}

#[tokio::test]
async fn changed_user_is_read_anew() {
    let cache = MultiLevelCache::builder(CacheConfig::default()).build().unwrap();
    let receiver = receiver(cache.clone());
    for key in ["user:u-1", "user:profile:u-1", "user:challenges:u-1", "anything"] {
        assert_eq!(read(&cache, key, 1).await, 1);
        assert_eq!(read(&cache, key, 2).await, 1, "cached");
    }
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    eventually("handled", async || receiver.snapshot().handled == 1).await;
    for key in ["user:u-1", "user:profile:u-1", "user:challenges:u-1", "anything"] {
        assert_eq!(read(&cache, key, 3).await, 3);
    }
}

#[tokio::test]
async fn event_without_a_user_and_forged_event_invalidate_nothing() {
    let cache = MultiLevelCache::builder(CacheConfig::default()).build().unwrap();
    let receiver = receiver(cache.clone());
    assert_eq!(read(&cache, "user:u-1", 1).await, 1);
    let nobody = delivery("d1", br#"{"event":"user.updated","data":{}}"#);
    assert_eq!(send(&receiver.service(), nobody).await, StatusCode::OK);
    eventually("given up", async || receiver.snapshot().dead_lettered == 1).await;
    let mut forged = delivery("d2", USER_UPDATED);
    let signature = format!("sha256={}", "0".repeat(64));
    forged.headers_mut().insert("x-nudj-signature", signature.parse().unwrap());
    assert_eq!(send(&receiver.service(), forged).await, StatusCode::UNAUTHORIZED);
    receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!(read(&cache, "user:u-1", 2).await, 1);
}

/// A shared level that is away until it is told to be back.
struct Away(Arc<AtomicBool>);

impl Away {
    fn answer<T>(&self, answer: T) -> Result<T, LevelError> {
        if self.0.load(SeqCst) { Err(LevelError::backend("failing over")) } else { Ok(answer) }
    }
}

#[async_trait::async_trait]
impl CacheLevel for Away {
    fn name(&self) -> &'static str {
        "away"
    }

    async fn get(&self, _: &str) -> Result<Option<Found>, LevelError> {
        self.answer(None)
    }

    async fn set(&self, _: &str, _: &Entry, _: Write) -> Result<(), LevelError> {
        self.answer(())
    }

    async fn delete(&self, _: &str) -> Result<(), LevelError> {
        self.answer(())
    }

    async fn delete_tag(&self, _: &str) -> Result<(), LevelError> {
        self.answer(())
    }
}

#[tokio::test(start_paused = true)]
async fn delete_that_a_shared_level_did_not_take_is_repeated() {
    let away = Arc::new(AtomicBool::new(true));
    let cache = MultiLevelCache::builder(CacheConfig::default()).l2(Away(Arc::clone(&away))).build().unwrap();
    let receiver = receiver(cache.clone());
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    eventually("failed", async || receiver.snapshot().failed_attempts >= 2).await;
    // This process would make up for it; a receiver that is started anew would not.
    assert_eq!((receiver.snapshot().handled, receiver.snapshot().queue_depth), (0, 1));
    away.store(false, SeqCst);
    eventually("taken", async || receiver.snapshot().handled == 1).await;
    assert_eq!(cache.stats().levels[1].pending_deletes, 0);
}

/// The integration page's flow, whole: two processes with a memory each, one Redis, one SQLite file.
#[cfg(all(feature = "redis", feature = "sqlite"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_user_is_gone_from_all_levels_of_two_processes() {
    let Some(redis) = crate::redis_server::Redis::start("changed_user_is_gone_from_all_levels_of_two_processes") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.db");
    let (here, _subscription) = crate::cache_process::shared_cache(&redis.url, &file).await;
    let mut there = crate::cache_process::CacheProcess::start(&redis.url, &file);
    let receiver = receiver(here.clone());
    const KEY: &str = "user:profile:u-1";

    assert_eq!(read(&here, KEY, 1).await, 1);
    assert_eq!(there.ask("read 2"), "1", "shared");
    here.drop_memory();
    assert_eq!(read(&here, KEY, 2).await, 1, "in the shared levels as well");
    assert_eq!(there.ask("drop"), "dropped");
    assert_eq!(there.ask("read 2"), "1", "in the shared levels as well");
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    eventually("handled", async || receiver.snapshot().handled == 1).await;
    assert_eq!(here.get::<u32>(KEY).await.as_deref(), None);
    assert_eq!(there.ask("heard"), "heard", "the other process was told");
    assert_eq!(there.ask("get"), "none");
    // Not in any level: with both memories empty the shared ones are asked.
    here.drop_memory();
    assert_eq!(there.ask("drop"), "dropped");
    assert_eq!(here.get::<u32>(KEY).await.as_deref(), None);
    assert_eq!(there.ask("get"), "none");
    assert_eq!(there.ask("read 3"), "3", "the next read is fresh");
    // So soon after the delete the shared levels need not take it yet; old it is not.
    assert!([3, 4].contains(&read(&here, KEY, 4).await));
    // The sender's repeat does nothing more.
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!((receiver.snapshot().handled, here.stats().invalidations), (1, 1));
}
