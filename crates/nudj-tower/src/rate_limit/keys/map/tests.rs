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
    let grants = [1, 2].map(|key| (key, map.get(key).gate().take(map.settings.now()).unwrap()));
    assert!(take(&map, 10) && take(&map, 11) && take(&map, 12));
    assert!(!take(&map, 13), "the overflow's quota is used up");
    assert!(map.peek(&10).is_none());
    // Room again for one, whose calls of before still count.
    let freed = map.shards.iter().map(|shard| shard.lock().row.len()).sum::<usize>();
    assert_eq!(freed, 2);
    advance(Duration::from_millis(500)).await;
    for (key, grant) in grants {
        map.get(key).gate().give_back(grant, map.settings.now());
    }
    assert!(!take(&map, 10), "it starts from what the overflow let through");
    assert!(map.peek(&10).is_some(), "and has a limiter of its own");
}

#[tokio::test(start_paused = true)]
async fn a_key_with_a_quota_of_its_own_is_kept_with_it() {
    let map = map(64, 100);
    let gate = |key| map.get(key);
    let quota = |max_requests| RateLimitConfig { max_requests, ..RateLimitConfig::default() }.quota();
    gate(7).gate().change(quota(1));
    advance(Duration::from_secs(3600)).await;
    assert_eq!(map.evict_idle(), 0);
    for key in 100..2000 {
        take(&map, key);
    }
    assert!(take(&map, 7) && !take(&map, 7));
    advance(Duration::from_secs(3600)).await;
    gate(7).gate().change(quota(100));
    let _ = map.evict_idle();
    assert!(map.peek(&7).is_none(), "it has the quota of all again");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_will_take_of_the_overflow_counts_for_the_key_that_comes_to_have_its_own() {
    let map = map(2, 1);
    assert!(take(&map, 0) && take(&map, 1));
    let held = map.get(2);
    advance(Duration::from_secs(2)).await;
    assert_eq!(map.evict_idle(), 2);
    // Nobody has asked the overflow yet, though one is about to.
    let own = map.get(3);
    assert!(map.peek(&3).is_some());
    let now = map.settings.now();
    assert!(held.gate().take(now).is_some());
    drop(own);
    assert!(!take(&map, 2), "its one call went through the overflow");
}
