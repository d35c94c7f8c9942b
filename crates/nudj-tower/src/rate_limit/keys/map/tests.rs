use std::time::Duration;

use tokio::time::advance;

use super::{super::super::config::RateLimitConfig, *};

fn map(max_keys: usize, max_requests: u32) -> KeyMap<u64> {
    let config = RateLimitConfig { max_keys, max_requests, ..RateLimitConfig::default() };
    KeyMap::new(Arc::new(Settings::new(&config)), max_keys)
}

fn take(map: &KeyMap<u64>, key: u64) -> bool {
    let lease = map.get(key);
    lease.gate().take(lease.gate().settings().now()).is_some()
}

#[tokio::test(start_paused = true)]
async fn memory_stays_bounded_over_any_number_of_keys() {
    let map = map(1000, 1);
    for round in 0..20 {
        for key in 0..5000 {
            take(&map, round * 10_000 + key);
            assert!(map.len() <= 1000);
        }
        advance(Duration::from_secs(2)).await;
    }
    let rows: usize = map.shards.iter().map(|shard| shard.lock().row.len()).sum();
    let sets: usize = map.shards.iter().map(|shard| shard.lock().by_key.len()).sum();
    assert_eq!((rows, sets), (map.len(), map.len()));
    assert_eq!(map.evict_idle(), rows);
    assert_eq!(map.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_keeps_what_it_has_used() {
    let map = map(64, 1);
    assert!(take(&map, 7));
    for key in 100..2000 {
        take(&map, key);
    }
    assert!(!take(&map, 7), "nobody pushed it out while its window is not empty");
    assert_eq!(map.evict_idle(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_keys_make_room_for_new_ones() {
    let map = map(64, 1);
    for key in 0..64 {
        assert!(take(&map, key));
    }
    advance(Duration::from_secs(2)).await;
    // As many as leave a quarter free: a newcomer looks at a few keys only, and among busy ones may miss the last idle one.
    for key in 100..148 {
        assert!(take(&map, key), "{key} needs no overflow");
    }
}

#[tokio::test(start_paused = true)]
async fn all_idle_keys_are_found_among_busy_ones() {
    let map = map(1000, 1);
    assert!((0..300).all(|key| take(&map, key)));
    advance(Duration::from_secs(2)).await;
    assert!((100..200).all(|key| take(&map, key)));
    for shard in &map.shards {
        shard.lock().hand = 3;
    }
    assert_eq!(map.evict_idle(), 200);
    assert!((100..200).all(|key| map.peek(&key).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_key_in_use_is_not_evicted() {
    let map = map(1, 1);
    let lease = map.get(1);
    assert_eq!(map.evict_idle(), 0);
    assert!(map.peek(&1).is_some());
    drop(lease);
    assert_eq!(map.evict_idle(), 1);
    assert!(map.peek(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn too_many_busy_keys_share_a_quota_and_take_what_they_used_along() {
    let map = map(2, 3);
    assert!(take(&map, 1) && take(&map, 2));
    assert!(take(&map, 10) && take(&map, 11) && take(&map, 12));
    assert!(!take(&map, 13), "the overflow's quota is used up");
    assert!(map.peek(&10).is_none());
    // Room again for one, whose calls of before still count.
    let freed = map.shards.iter().map(|shard| shard.lock().row.len()).sum::<usize>();
    assert_eq!(freed, 2);
    advance(Duration::from_millis(500)).await;
    for key in [1, 2] {
        let lease = map.get(key);
        let settings = lease.gate().settings();
        lease.gate().change(
            super::super::super::config::Quota { max_requests: 3, window: Duration::from_millis(1) },
            settings.now(),
        );
    }
    assert!(!take(&map, 10), "it starts from what the overflow let through");
    assert!(map.peek(&10).is_some(), "and has a limiter of its own");
}
