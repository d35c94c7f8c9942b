//! What every level must do, tried on each kind.

use std::time::Duration;

use bytes::Bytes;
use nudj_cache::{AsOf, CacheLevel, Entry, Kind, MemoryLevel, Write};
use tokio::time::Instant;

const MINUTE: Write = Write { ttl: Duration::from_secs(60), as_of: None };

fn entry(value: &'static str, tags: &[&str]) -> Entry {
    let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
    Entry::new(Kind::Bytes, 3, Bytes::from_static(value.as_bytes()), &tags)
}

async fn read(level: &impl CacheLevel, key: &str) -> Option<String> {
    let found = level.get(key).await.unwrap()?;
    assert!(found.remaining <= MINUTE.ttl && !found.remaining.is_zero());
    assert_eq!((found.entry.kind(), found.entry.schema()), (Kind::Bytes, 3));
    Some(String::from_utf8(found.entry.payload().to_vec()).unwrap())
}

/// Everything a level promises that needs no waiting.
pub(crate) async fn holds(level: &impl CacheLevel) {
    // Set, overwrite, read, delete.
    assert_eq!(read(level, "k").await, None);
    level.set("k", &entry("one", &["a"]), MINUTE).await.unwrap();
    assert_eq!(read(level, "k").await.as_deref(), Some("one"));
    let found = level.get("k").await.unwrap().unwrap();
    assert_eq!(found.entry.tags().collect::<Vec<_>>(), ["a"]);
    assert!(found.entry.age(Instant::now()) < Duration::from_secs(30));
    level.set("k", &entry("two", &["b"]), MINUTE).await.unwrap();
    assert_eq!(read(level, "k").await.as_deref(), Some("two"));
    level.delete("k").await.unwrap();
    assert_eq!(read(level, "k").await, None);
    level.delete("k").await.unwrap();

    // Tags.
    for (key, tags) in [("x", &["t1", "t2"][..]), ("y", &["t1"]), ("z", &["t2", "ü 'quoted' \"tag\" %_*"]), ("w", &[])]
    {
        level.set(key, &entry("v", tags), MINUTE).await.unwrap();
    }
    level.delete_tag("t1").await.unwrap();
    let left = [read(level, "x").await, read(level, "y").await, read(level, "z").await, read(level, "w").await];
    assert_eq!(left.map(|value| value.is_some()), [false, false, true, true]);
    level.delete_tag("ü 'quoted' \"tag\" %_*").await.unwrap();
    assert_eq!(read(level, "z").await, None);
    level.delete_tag("t1").await.unwrap();
    assert!(read(level, "w").await.is_some());

    // Deletes win over what was read before them, by key and by tag; and over nothing that came after.
    let before = || Some(AsOf::now().earlier(Duration::from_secs(1)));
    let as_of = before();
    level.delete("raced").await.unwrap();
    level.set("raced", &entry("old", &[]), Write { as_of, ..MINUTE }).await.unwrap();
    assert_eq!(read(level, "raced").await, None);
    let as_of = before();
    level.delete_tag("raced tag").await.unwrap();
    level.set("other", &entry("old", &["raced tag"]), Write { as_of, ..MINUTE }).await.unwrap();
    assert_eq!(read(level, "other").await, None);
    level.set("other", &entry("new", &["raced tag"]), MINUTE).await.unwrap();
    assert_eq!(read(level, "other").await.as_deref(), Some("new"));
    let unrelated = Some(AsOf::now());
    level.set("unrelated", &entry("v", &["c"]), Write { as_of: unrelated, ..MINUTE }).await.unwrap();
    assert!(read(level, "unrelated").await.is_some());

    // Odd keys.
    for key in ["", "a b", "ключ", "{a}{b}", "'; DROP TABLE nudj_cache_entries; --", &"k".repeat(512)] {
        level.set(key, &entry("odd", &[]), MINUTE).await.unwrap();
        assert_eq!(read(level, key).await.as_deref(), Some("odd"), "{key:?}");
    }
    let empty = Entry::new(Kind::Bytes, 3, Bytes::new(), &[]);
    level.set("empty", &empty, MINUTE).await.unwrap();
    assert_eq!(read(level, "empty").await.as_deref(), Some(""));
    level.set("long", &entry("v", &[]), Write { ttl: Duration::MAX, as_of: None }).await.unwrap();
    assert!(level.get("long").await.unwrap().is_some());
}

/// Deletes and writes by many at once: after the last delete of a name nothing older is there.
pub(crate) async fn holds_under_races(level: &(impl CacheLevel + Clone)) {
    let mut tasks = Vec::new();
    for worker in 0..8u32 {
        let level = level.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..20u32 {
                let key = format!("race {}", round % 3);
                let tag = format!("race tag {}", round % 2);
                if (worker + round) % 3 == 0 {
                    level.delete(&key).await.unwrap();
                } else if (worker + round) % 5 == 0 {
                    level.delete_tag(&tag).await.unwrap();
                } else {
                    let as_of = Some(AsOf::now());
                    tokio::task::yield_now().await;
                    level.set(&key, &entry("v", &[&tag]), Write { as_of, ..MINUTE }).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for tag in ["race tag 0", "race tag 1"] {
        level.delete_tag(tag).await.unwrap();
    }
    for key in ["race 0", "race 1", "race 2"] {
        assert_eq!(read(level, key).await, None, "{key} is still there: its tag's index lost it");
    }
}

#[tokio::test]
async fn memory_level_keeps_the_contract() {
    let level = MemoryLevel::with_seed(1 << 20, 1);
    holds(&level).await;
    holds_under_races(&level).await;
}
