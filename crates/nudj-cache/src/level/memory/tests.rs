use bytes::Bytes;
use tokio::time::advance;

use super::*;
use crate::entry::Kind;

fn entry(tags: &[&str]) -> Entry {
    let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
    Entry::new(Kind::Bytes, 1, Bytes::from_static(b"value"), &tags)
}

fn for_a_minute() -> Write {
    Write { ttl: Duration::from_secs(60), as_of: None }
}

#[tokio::test(start_paused = true)]
async fn entry_is_gone_at_its_ttl_to_the_millisecond() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    level.insert("k", &entry(&[]), for_a_minute());
    advance(Duration::from_millis(59_999)).await;
    assert_eq!(level.lookup("k").unwrap().remaining, Duration::from_millis(1));
    advance(Duration::from_millis(1)).await;
    assert!(level.lookup("k").is_none());
}

#[tokio::test(start_paused = true)]
async fn tag_removes_every_entry_that_has_it_and_no_other() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    level.insert("profile", &entry(&["user:1", "profiles"]), for_a_minute());
    level.insert("rewards", &entry(&["user:1"]), for_a_minute());
    level.insert("other", &entry(&["user:2"]), for_a_minute());
    level.remove_tag("user:1");
    assert!(level.lookup("profile").is_none());
    assert!(level.lookup("rewards").is_none());
    assert!(level.lookup("other").is_some());
    level.insert("profile", &entry(&["user:1"]), for_a_minute());
    assert!(level.lookup("profile").is_some(), "what is written after the delete counts");
}

#[tokio::test(start_paused = true)]
async fn value_read_before_its_delete_is_refused_after_it() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    let as_of = Some(AsOf::now());
    level.remove("k");
    level.insert("k", &entry(&[]), Write { as_of, ..for_a_minute() });
    assert!(level.lookup("k").is_none());

    let as_of = Some(AsOf::now());
    level.remove_tag("user:1");
    level.insert("k", &entry(&["user:1"]), Write { as_of, ..for_a_minute() });
    assert!(level.lookup("k").is_none());

    let as_of = Some(AsOf::now());
    level.clear();
    level.insert("k", &entry(&[]), Write { as_of, ..for_a_minute() });
    assert!(level.lookup("k").is_none());

    level.insert("k", &entry(&[]), Write { as_of: Some(AsOf::now()), ..for_a_minute() });
    assert!(level.lookup("k").is_some());
}

#[tokio::test(start_paused = true)]
async fn weight_stays_within_the_limit_however_much_is_written() {
    let level = MemoryLevel::with_seed(256 << 10, 1);
    let big = Entry::new(Kind::Bytes, 1, Bytes::from(vec![0; 4096]), &[]);
    for n in 0..5_000 {
        level.insert(&format!("key {n}"), &big, for_a_minute());
    }
    level.settle();
    let usage = level.usage();
    assert!(usage.bytes.unwrap() <= 256 << 10, "{usage:?}");
    assert!(usage.entries.unwrap() > 40, "{usage:?}");
}

#[tokio::test(start_paused = true)]
async fn clearing_leaves_nothing() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    level.insert("k", &entry(&[]), for_a_minute());
    level.clear();
    assert!(level.lookup("k").is_none());
}

#[tokio::test(start_paused = true)]
async fn longest_ttl_does_not_overflow_the_clock() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    level.insert("k", &entry(&[]), Write { ttl: Duration::MAX, as_of: None });
    assert!(level.lookup("k").is_some());
}
