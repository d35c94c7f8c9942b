//! Invalidations that are large, that fail in part, or that nobody waits for.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use nudj_cache::{
    CacheConfig, Invalidation, InvalidationChannel, LevelError, MemoryLevel, MultiLevelCache, SetOptions,
};
use tokio::time::timeout;

use crate::levels::{Shared, cache};

const USERS: usize = 300;

/// Counts what a level still holds of the users at the moment when the other processes are told.
struct Counting(MemoryLevel, Arc<Mutex<Vec<usize>>>);

#[async_trait]
impl InvalidationChannel for Counting {
    async fn publish(&self, _: &Invalidation) -> Result<(), LevelError> {
        let left = (0..USERS).filter(|id| self.0.lookup(&format!("user:{id}")).is_some()).count();
        self.1.lock().unwrap().push(left);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn invalidation_of_many_users_is_done_whole_before_the_other_processes_are_told() {
    let l2 = Shared::new();
    let told = Arc::default();
    let channel = Counting(l2.level.clone(), Arc::clone(&told));
    let cache = MultiLevelCache::builder(CacheConfig::default()).l2(l2.clone()).channel(channel).build().unwrap();
    let mut users = Invalidation::default();
    for id in 0..USERS {
        cache.set(&format!("user:{id}"), id, &SetOptions::default()).await.unwrap();
        users = users.and_tag(format!("user:{id}"));
    }
    cache.invalidate(&users).await;
    assert_eq!(*told.lock().unwrap(), [0]);
    let level = &cache.stats().levels[1];
    assert_eq!((level.lost_deletes, level.pending_deletes), (0, 0));
    for id in 0..USERS {
        assert!(cache.get::<usize>(&format!("user:{id}")).await.is_none(), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalidation_dropped_at_one_level_is_finished_in_all() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    // The lowest is first.
    l3.hanging.store(true, Ordering::SeqCst);
    assert!(timeout(Duration::from_millis(1), cache.delete("k")).await.is_err());
    l3.hanging.store(false, Ordering::SeqCst);
    cache.drop_memory();
    assert!(cache.get::<i32>("k").await.is_none());
    for level in [&l2.level, &l3.level] {
        assert!(level.lookup("k").is_none());
    }
}
