use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::entry::Kind;

/// A level whose state a test sets.
#[derive(Default)]
struct Fake {
    map: Mutex<HashMap<String, Entry>>,
    failing: AtomicBool,
    hanging: AtomicBool,
    last_write: Mutex<Option<Write>>,
}

impl Fake {
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
impl CacheLevel for Arc<Fake> {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn get(&self, key: &str) -> Result<Option<Found>, LevelError> {
        self.state().await?;
        let entry = self.map.lock().get(key).cloned();
        Ok(entry.map(|entry| Found { entry, remaining: Duration::from_secs(9) }))
    }
    async fn set(&self, key: &str, entry: &Entry, write: Write) -> Result<(), LevelError> {
        self.state().await?;
        *self.last_write.lock() = Some(write);
        self.map.lock().insert(key.into(), entry.clone());
        Ok(())
    }
    async fn delete(&self, key: &str) -> Result<(), LevelError> {
        self.state().await?;
        self.map.lock().remove(key);
        Ok(())
    }
    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        self.state().await?;
        self.map.lock().retain(|_, entry| entry.tags().all(|has| has != tag));
        Ok(())
    }
}

fn guarded() -> (Arc<Fake>, Guarded) {
    let fake = Arc::new(Fake::default());
    (Arc::clone(&fake), Guarded::new(Arc::new(fake), LevelConfig::default()))
}

fn entry(tags: &[&str]) -> Entry {
    let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
    Entry::new(Kind::Bytes, 1, Bytes::from_static(b"v"), &tags)
}

const WRITE: Write = Write { ttl: Duration::from_secs(9), as_of: None };

#[tokio::test(start_paused = true)]
async fn level_that_hangs_is_a_miss_after_its_timeout_and_is_then_left_alone() {
    let (fake, guarded) = guarded();
    fake.hanging.store(true, Ordering::SeqCst);
    let start = Instant::now();
    for _ in 0..5 {
        assert!(guarded.get("k").await.is_none());
    }
    assert_eq!(start.elapsed(), Duration::from_millis(250));
    for _ in 0..100 {
        assert!(guarded.get("k").await.is_none());
    }
    assert_eq!(start.elapsed(), Duration::from_millis(250), "an open breaker costs no time");
    let stats = guarded.stats();
    assert_eq!((stats.timeouts, stats.skipped, stats.up), (5, 100, false));
}

#[tokio::test(start_paused = true)]
async fn level_that_comes_back_is_asked_again() {
    let (fake, guarded) = guarded();
    guarded.set("k", &entry(&[]), WRITE).await;
    fake.failing.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert!(guarded.get("k").await.is_none());
    }
    fake.failing.store(false, Ordering::SeqCst);
    assert!(guarded.get("k").await.is_none(), "still open");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(guarded.get("k").await.is_some());
    assert_eq!((guarded.stats().errors, guarded.stats().up), (5, true));
}

#[tokio::test(start_paused = true)]
async fn delete_that_failed_is_repeated_before_anything_is_read() {
    let (fake, guarded) = guarded();
    guarded.set("a", &entry(&[]), WRITE).await;
    guarded.set("b", &entry(&["tag"]), WRITE).await;
    guarded.set("c", &entry(&[]), WRITE).await;
    fake.failing.store(true, Ordering::SeqCst);
    guarded.delete(&[Target::Key("a".into())]).await;
    guarded.delete(&[Target::Tag("tag".into())]).await;
    assert_eq!(guarded.stats().pending_deletes, 2);
    assert!(guarded.take_repaired().is_empty());
    fake.failing.store(false, Ordering::SeqCst);
    assert!(guarded.get("a").await.is_none());
    assert!(guarded.get("b").await.is_none());
    assert!(guarded.get("c").await.is_some());
    assert_eq!(guarded.take_repaired(), [Target::Key("a".into()), Target::Tag("tag".into())]);
    assert_eq!(guarded.stats().pending_deletes, 0);
}

#[tokio::test(start_paused = true)]
async fn entry_named_by_a_pending_delete_is_not_read() {
    let (_fake, guarded) = guarded();
    guarded.set("a", &entry(&["tag"]), WRITE).await;
    let _busy = guarded.repairing.lock().await;
    guarded.note(Target::Tag("tag".into()));
    assert!(guarded.get("a").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn delete_dropped_half_way_is_still_done() {
    let (fake, guarded) = guarded();
    guarded.set("a", &entry(&[]), WRITE).await;
    fake.hanging.store(true, Ordering::SeqCst);
    let short = Duration::from_millis(1);
    let target = Target::Key("a".into());
    assert!(timeout(short, guarded.delete(&[target])).await.is_err());
    fake.hanging.store(false, Ordering::SeqCst);
    assert!(guarded.get("a").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn ttl_and_age_leave_room_for_the_way_there() {
    let (fake, guarded) = guarded();
    guarded.set("k", &entry(&[]), Write { as_of: Some(crate::AsOf::now()), ..WRITE }).await;
    let write = (*fake.last_write.lock()).unwrap();
    assert_eq!(write.ttl, WRITE.ttl - Duration::from_millis(50));
    assert_eq!(write.as_of.unwrap().elapsed(), Duration::from_millis(50), "as if read that much earlier");
    let short = Write { ttl: Duration::from_millis(50), as_of: None };
    guarded.set("short", &entry(&[]), short).await;
    assert!(guarded.get("short").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn write_with_an_unknown_end_is_undone() {
    let (fake, guarded) = guarded();
    fake.hanging.store(true, Ordering::SeqCst);
    guarded.set("a", &entry(&[]), WRITE).await;
    assert_eq!(guarded.stats().pending_deletes, 1);
    fake.hanging.store(false, Ordering::SeqCst);
    fake.map.lock().insert("a".into(), entry(&[]));
    assert!(guarded.get("a").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn pending_deletes_are_bounded_and_the_lost_are_counted() {
    let (fake, guarded) = guarded();
    fake.failing.store(true, Ordering::SeqCst);
    for n in 0..MAX_PENDING + 10 {
        guarded.delete(&[Target::Key(n.to_string().into())]).await;
    }
    let stats = guarded.stats();
    assert_eq!((stats.pending_deletes, stats.lost_deletes), (MAX_PENDING as u64, 10));
}

#[tokio::test(start_paused = true)]
async fn catching_up_never_costs_one_caller_more_than_a_timeout() {
    let (fake, guarded) = guarded();
    fake.failing.store(true, Ordering::SeqCst);
    for n in 0..100 {
        guarded.delete(&[Target::Key(n.to_string().into())]).await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    fake.failing.store(false, Ordering::SeqCst);
    fake.hanging.store(true, Ordering::SeqCst);
    let start = Instant::now();
    assert!(guarded.get("x").await.is_none());
    assert_eq!(start.elapsed(), Duration::from_millis(50));
}

proptest! {
    /// Whatever fails when, a value that was deleted is never read again.
    #[test]
    fn deleted_is_never_read_again(steps in proptest::collection::vec((0u8..5, any::<bool>()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (fake, guarded) = guarded();
            let mut deleted = false;
            for (step, failing) in steps {
                fake.failing.store(failing, Ordering::SeqCst);
                match step {
                    0 => {
                        guarded.set("k", &entry(&["t"]), WRITE).await;
                        deleted = deleted && failing;
                    }
                    1 => { guarded.delete(&[Target::Key("k".into())]).await; deleted = true; }
                    2 => { guarded.delete(&[Target::Tag("t".into())]).await; deleted = true; }
                    3 => tokio::time::advance(Duration::from_millis(400)).await,
                    _ => assert!(guarded.get("k").await.is_none() || !deleted),
                }
            }
        });
    }
}
