//! Deletes that a level missed, when the channel comes back.

use std::{sync::atomic::Ordering, time::Duration};

use nudj_cache::{CacheConfig, Invalidation, LevelConfig, MultiLevelCache, RedisChannel, RedisConfig};

use super::{Server, up};
use crate::levels::Shared;

#[tokio::test]
async fn invalidations_arrive_while_a_level_is_slow_to_catch_up() {
    let Some(server) = Server::start("invalidations_arrive_while_a_level_is_slow", &[]) else { return };
    let channel = RedisChannel::new(&[&server.url()], &RedisConfig::default()).unwrap();
    // It hangs for longer than the test waits.
    let l2 = LevelConfig { timeout: Duration::from_secs(600), ..LevelConfig::default() };
    let level = Shared::new();
    let cache = MultiLevelCache::builder(CacheConfig { l2, ..CacheConfig::default() })
        .l2(level.clone())
        .channel(channel.clone())
        .seed(1)
        .build()
        .unwrap();
    level.failing.store(true, Ordering::SeqCst);
    cache.invalidate(&Invalidation::key("missed")).await;
    assert_eq!(cache.stats().levels[1].pending_deletes, 1);
    level.hanging.store(true, Ordering::SeqCst);

    let _subscription = channel.subscribe(&cache);
    up(&cache).await;
    let mut news = cache.channel_news();
    let before = news.borrow().removals;
    server.tell(&["PUBLISH", "nudj:invalidate", r#"{"from":"x","keys":["k"]}"#]).await;
    let arrived = news.wait_for(|news| news.removals != before);
    tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("it waits for the level").unwrap();
    assert_eq!(cache.stats().remote_invalidations, 1);
    assert_eq!(cache.stats().levels[1].pending_deletes, 1, "the level hangs still");
}
