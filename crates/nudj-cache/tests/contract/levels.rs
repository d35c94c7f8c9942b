//! Several levels as one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use nudj_cache::{
    AsOf, CacheConfig, CacheLevel, Entry, Found, Invalidation, Kind, LevelError, MemoryLevel, MultiLevelCache,
    SetOptions, Write,
};
use tokio::time::{Instant, advance, timeout};

/// A shared level in memory that can be switched off, and that can hold up a read before or after it is done.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) level: MemoryLevel,
    pub(crate) failing: Arc<AtomicBool>,
    pub(crate) hanging: Arc<AtomicBool>,
    /// Met when a read has its value, and before it goes on.
    pub(crate) read_done: Option<Arc<tokio::sync::Barrier>>,
    /// Met when a delete begins, and before it goes on.
    pub(crate) delete_begun: Option<Arc<tokio::sync::Barrier>>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            level: MemoryLevel::with_seed(1 << 20, 1),
            failing: Arc::default(),
            hanging: Arc::default(),
            read_done: None,
            delete_begun: None,
        }
    }

    async fn state(&self) -> Result<(), LevelError> {
        if self.hanging.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.failing.load(Ordering::SeqCst) {
            return Err(LevelError::backend("down"));
        }
        Ok(())
    }
}

#[async_trait]
impl CacheLevel for Shared {
    fn name(&self) -> &'static str {
        "shared"
    }
    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        self.state().await?;
        let found = self.level.lookup(key);
        if let Some(barrier) = &self.read_done {
            barrier.wait().await;
            barrier.wait().await;
        }
        // As a level that keeps bytes would.
        found
            .map(|Found { entry, remaining }| {
                let bytes = entry.to_bytes(remaining);
                let entry = Entry::from_bytes(&bytes, remaining).ok_or(LevelError::Unreadable)?;
                Ok(Found { entry, remaining })
            })
            .transpose()
    }
    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        self.state().await?;
        self.level.set(key, entry, write).await
    }
    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        if let Some(barrier) = &self.delete_begun {
            barrier.wait().await;
            barrier.wait().await;
        }
        self.state().await?;
        self.level.delete(key).await
    }
    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        self.state().await?;
        self.level.delete_tag(tag).await
    }
}

pub(crate) fn cache(l2: Shared, l3: Shared) -> MultiLevelCache {
    MultiLevelCache::builder(CacheConfig::default()).l2(l2).l3(l3).seed(7).build().unwrap()
}

fn remaining(level: &MemoryLevel, key: &str) -> Duration {
    level.lookup(key).map_or(Duration::ZERO, |found| found.remaining)
}

#[tokio::test(start_paused = true)]
async fn write_goes_to_all_levels_for_each_levels_time_jittered_below_it() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    let mut shortest = f64::MAX;
    for n in 0..50 {
        let key = format!("key {n}");
        cache.set(&key, n, &SetOptions::default()).await.unwrap();
        for (level, seconds) in [(cache.memory(), 300), (&l2.level, 3600), (&l3.level, 86_400)] {
            let kept = remaining(level, &key).as_secs_f64();
            let ttl = f64::from(seconds);
            assert!(kept <= ttl && kept >= ttl * 0.9 - 0.1, "{kept} of {ttl}");
            shortest = shortest.min(kept / ttl);
        }
    }
    assert!(shortest < 0.95, "what is stored together must not expire together");
}

#[tokio::test(start_paused = true)]
async fn value_with_a_ttl_of_its_own_is_kept_nowhere_longer() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    let ttl = Duration::from_secs(10);
    cache.set("k", 1, &SetOptions::default().ttl(ttl)).await.unwrap();
    for level in [cache.memory(), &l2.level, &l3.level] {
        assert!(remaining(level, "k") <= ttl);
    }
    advance(ttl).await;
    assert!(cache.get::<i32>("k").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn read_fills_the_levels_above_for_no_longer_than_the_level_below_keeps_it() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let entry = Entry::new(Kind::Json, 1, Bytes::from_static(b"5"), &["tag".to_owned()]);
    l3.level.insert("k", &entry, Write { ttl: Duration::from_secs(100), as_of: None });
    let cache = cache(l2.clone(), l3.clone());
    advance(Duration::from_secs(40)).await;
    assert_eq!(cache.get::<i32>("k").await.as_deref(), Some(&5));
    for level in [cache.memory(), &l2.level] {
        let kept = remaining(level, "k");
        assert!(kept <= Duration::from_secs(60) && kept > Duration::from_secs(59), "{kept:?}");
    }
    // The tags came along.
    cache.delete_tag("tag").await;
    for level in [cache.memory(), &l2.level, &l3.level] {
        assert!(level.lookup("k").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn age_adds_up_over_the_levels() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2, l3);
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    for _ in 0..3 {
        advance(Duration::from_secs(20)).await;
        cache.drop_memory();
        assert!(cache.get::<i32>("k").await.is_some());
    }
    let age = cache.memory().lookup("k").unwrap().entry.age(Instant::now());
    assert!((age.as_secs_f64() - 60.0).abs() < 0.1, "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn memory_is_asked_first_and_each_level_counts_its_own() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3);
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    assert!(cache.get::<i32>("k").await.is_some());
    cache.drop_memory();
    assert!(cache.get::<i32>("k").await.is_some());
    l2.level.clear();
    cache.drop_memory();
    assert!(cache.get::<i32>("k").await.is_some());
    assert!(cache.get::<i32>("absent").await.is_none());
    let stats = cache.stats();
    let rows: Vec<_> = stats.levels.iter().map(|level| (level.hits, level.misses)).collect();
    assert_eq!(rows, [(1, 3), (1, 2), (1, 1)]);
    assert_eq!((stats.hits, stats.misses), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn levels_that_are_down_or_hang_are_misses_and_no_error() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    l2.failing.store(true, Ordering::SeqCst);
    l3.hanging.store(true, Ordering::SeqCst);
    let start = Instant::now();
    assert!(cache.get::<i32>("k").await.is_none());
    assert_eq!(start.elapsed(), Duration::from_millis(50), "one timeout, not more");
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.as_deref(), Some(&1), "memory still serves");
    cache.delete("k").await;
    assert!(cache.get::<i32>("k").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn value_deleted_while_a_level_was_down_does_not_come_back_with_it() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    cache.set("user:1", 1, &SetOptions::default()).await.unwrap();
    l2.failing.store(true, Ordering::SeqCst);
    l3.hanging.store(true, Ordering::SeqCst);
    cache.invalidate(&Invalidation::user(1)).await;
    l2.failing.store(false, Ordering::SeqCst);
    l3.hanging.store(false, Ordering::SeqCst);
    for _ in 0..30 {
        assert!(cache.get::<i32>("user:1").await.is_none());
        advance(Duration::from_millis(100)).await;
    }
    assert!(l2.level.lookup("user:1").is_none());
    assert!(l3.level.lookup("user:1").is_none());
}

#[tokio::test(start_paused = true)]
async fn user_takes_the_keys_the_seed_lists_along() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2, l3);
    let gone = ["user:1", "user:profile:1", "user:challenges:1", "user:rewards:1", "tagged"];
    let stay = ["user:12", "user:profile:12", "other"];
    for key in gone.iter().chain(&stay) {
        let options = SetOptions::default();
        let options = if *key == "tagged" { options.tag("user:1") } else { options };
        cache.set(key, 1, &options).await.unwrap();
    }
    cache.invalidate(&Invalidation::user(1)).await;
    for key in gone {
        assert!(cache.get::<i32>(key).await.is_none(), "{key}");
    }
    for key in stay {
        assert!(cache.get::<i32>(key).await.is_some(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn reader_that_was_under_way_does_not_bring_a_deleted_value_back() {
    let (mut l2, l3) = (Shared::new(), Shared::new());
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    l2.read_done = Some(Arc::clone(&barrier));
    let cache = cache(l2.clone(), l3.clone());
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    cache.drop_memory();
    let reader = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<i32>("k").await }
    });
    barrier.wait().await; // the reader has the old value in hand
    cache.delete("k").await;
    barrier.wait().await;
    reader.await.unwrap();
    assert!(cache.memory().lookup("k").is_none());
    assert!(l2.level.lookup("k").is_none());
}

#[tokio::test(start_paused = true)]
async fn entry_of_another_schema_or_kind_or_layout_is_a_miss_and_the_next_level_is_asked() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let good = Entry::new(Kind::Json, 1, Bytes::from_static(b"5"), &[]);
    let write = Write { ttl: Duration::from_secs(100), as_of: None };
    for bad in [
        Entry::new(Kind::Json, 2, Bytes::from_static(b"6"), &[]),
        Entry::new(Kind::Http, 1, Bytes::from_static(b"6"), &[]),
        Entry::new(Kind::Json, 1, Bytes::from_static(b"\"text\""), &[]),
    ] {
        let cache = cache(l2.clone(), l3.clone());
        l2.level.insert("k", &bad, write);
        l3.level.insert("k", &good, write);
        assert_eq!(cache.get::<i32>("k").await.as_deref(), Some(&5));
        assert_eq!(cache.stats().levels[1].unreadable, 1);
        assert_eq!(l2.level.lookup("k").unwrap().entry.payload(), good.payload(), "replaced by the good one");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_channel_shortens_what_is_stored_and_its_return_empties_memory() {
    struct Quiet;
    #[async_trait]
    impl nudj_cache::InvalidationChannel for Quiet {
        async fn publish(&self, _: &Invalidation) -> Result<(), LevelError> {
            Ok(())
        }
    }
    let cache = MultiLevelCache::builder(CacheConfig::default()).channel(Quiet).seed(1).build().unwrap();
    assert_eq!(cache.stats().channel_up, Some(false), "not subscribed yet");
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    assert!(remaining(cache.memory(), "k") <= Duration::from_secs(30));
    cache.channel_ready().await;
    assert!(cache.memory().lookup("k").is_none());
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    assert!(remaining(cache.memory(), "k") > Duration::from_secs(200));
    cache.channel_lost();
    let stats = cache.stats();
    assert_eq!((stats.memory_dropped, stats.channel_up), (1, Some(false)));
}

#[tokio::test(start_paused = true)]
async fn delete_that_is_dropped_half_way_is_finished_by_the_next_operation() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let cache = cache(l2.clone(), l3.clone());
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    l3.hanging.store(true, Ordering::SeqCst);
    assert!(timeout(Duration::from_millis(1), cache.delete("k")).await.is_err());
    l3.hanging.store(false, Ordering::SeqCst);
    cache.drop_memory();
    l2.level.clear();
    assert!(cache.get::<i32>("k").await.is_none());
    let _ = AsOf::now();
}

#[tokio::test(start_paused = true)]
async fn reader_between_two_levels_deletes_does_not_carry_the_old_value_up() {
    let (l2, mut l3) = (Shared::new(), Shared::new());
    let barrier = Arc::new(tokio::sync::Barrier::new(2));
    l3.delete_begun = Some(Arc::clone(&barrier));
    let cache = cache(l2.clone(), l3.clone());
    cache.set("k", 1, &SetOptions::default()).await.unwrap();
    let delete = tokio::spawn({
        let cache = cache.clone();
        async move { cache.delete("k").await }
    });
    barrier.wait().await;
    assert!(cache.get::<i32>("k").await.is_some(), "the delete is not done yet");
    barrier.wait().await;
    delete.await.unwrap();
    for level in [cache.memory(), &l2.level, &l3.level] {
        assert!(level.lookup("k").is_none());
    }
}

/// Whoever knows nothing of the late delete reads the old value from the lower level, and carries it up behind the delete there.
#[tokio::test(start_paused = true)]
async fn a_late_delete_of_a_level_is_done_once_more_above_it() {
    let (l2, l3) = (Shared::new(), Shared::new());
    let make = || {
        MultiLevelCache::builder(CacheConfig::default())
            .l2(l2.clone())
            .l3(l3.clone())
            .channel(Told(Arc::default()))
            .build()
            .unwrap()
    };
    let (one, other) = (make(), make());
    one.set("k", 1, &SetOptions::default()).await.unwrap();
    l3.failing.store(true, Ordering::SeqCst);
    one.delete("k").await;
    l3.failing.store(false, Ordering::SeqCst);
    assert_eq!(other.get::<i32>("k").await, Some(Arc::new(1)), "from the level that does not know of the delete");
    one.catch_up().await;
    let third = make();
    assert_eq!(third.get::<i32>("k").await, None, "it was carried up");
}

/// Keeps what it is given.
struct Told(Arc<std::sync::Mutex<Vec<Invalidation>>>);

#[async_trait]
impl nudj_cache::InvalidationChannel for Told {
    async fn publish(&self, invalidation: &Invalidation) -> Result<(), LevelError> {
        self.0.lock().unwrap().push(invalidation.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn other_processes_are_told_again_when_a_late_delete_got_through() {
    let l2 = Shared::new();
    let told: Arc<std::sync::Mutex<Vec<Invalidation>>> = Arc::default();
    let cache = MultiLevelCache::builder(CacheConfig::default())
        .l2(l2.clone())
        .channel(Told(Arc::clone(&told)))
        .build()
        .unwrap();
    l2.failing.store(true, Ordering::SeqCst);
    cache.delete("k").await;
    assert_eq!(*told.lock().unwrap(), [Invalidation::key("k")]);
    l2.failing.store(false, Ordering::SeqCst);
    // What was read elsewhere from the level before it deleted is in memory there; and here, put there by hand.
    let entry = Entry::new(Kind::Json, 1, Bytes::from_static(b"1"), &[]);
    cache.memory().insert("k", &entry, Write { ttl: Duration::from_secs(9), as_of: None });
    cache.catch_up().await;
    assert_eq!(*told.lock().unwrap(), [Invalidation::key("k"), Invalidation::key("k")]);
    assert!(cache.memory().lookup("k").is_none());
    cache.catch_up().await;
    assert_eq!(told.lock().unwrap().len(), 2, "once");
}
