use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::*;
use crate::entry::Kind;

/// A tag whose delete never gets done in time.
const ENDLESS: &str = "endless";

/// A level whose state a test sets.
#[derive(Default)]
struct Fake {
    map: Mutex<HashMap<String, Entry>>,
    failing: AtomicBool,
    hanging: AtomicBool,
    /// What a delete waits for, and whether before it is done or after.
    gate: Option<(Arc<Semaphore>, AtomicBool)>,
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

    async fn deleting(&self, delete: impl FnOnce()) -> Result<(), LevelError> {
        self.state().await?;
        let Some((gate, before)) = &self.gate else {
            delete();
            return Ok(());
        };
        if before.load(Ordering::SeqCst) {
            gate.acquire().await.unwrap().forget();
            delete();
        } else {
            delete();
            gate.acquire().await.unwrap().forget();
        }
        self.state().await
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
        self.deleting(|| drop(self.map.lock().remove(key))).await
    }
    async fn delete_tag(&self, tag: &str) -> Result<(), LevelError> {
        if tag == ENDLESS {
            std::future::pending::<()>().await;
        }
        self.deleting(|| self.map.lock().retain(|_, entry| entry.tags().all(|has| has != tag))).await
    }
}

fn guarded() -> (Arc<Fake>, Guarded) {
    over(Fake::default())
}

fn over(fake: Fake) -> (Arc<Fake>, Guarded) {
    let fake = Arc::new(fake);
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
    guarded.deletion(&[Target::Key("a".into())]).run().await;
    guarded.deletion(&[Target::Tag("tag".into())]).run().await;
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
    assert!(timeout(short, guarded.deletion(&[target]).run()).await.is_err());
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

fn keys(count: usize) -> Vec<Target> {
    (0..count).map(|n| Target::Key(n.to_string().into())).collect()
}

#[tokio::test(start_paused = true)]
async fn delete_of_more_than_can_be_kept_is_done_whole_by_a_level_that_answers() {
    let gate = (Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), AtomicBool::new(true));
    let (fake, guarded) = over(Fake { gate: Some(gate), ..Fake::default() });
    let all = keys(MAX_PENDING + 10);
    for n in 0..all.len() {
        fake.map.lock().insert(n.to_string(), entry(&[]));
    }
    guarded.deletion(&all).run().await;
    assert!(fake.map.lock().is_empty());
    let stats = guarded.stats();
    assert_eq!((stats.pending_deletes, stats.lost_deletes, stats.up), (0, 0, true));
}

#[tokio::test(start_paused = true)]
async fn level_with_more_deletes_than_can_be_kept_is_not_read_until_what_it_held_has_expired() {
    let (fake, guarded) = guarded();
    fake.map.lock().extend([("0".into(), entry(&[])), ("other".into(), entry(&[]))]);
    let before = crate::AsOf::now();
    fake.failing.store(true, Ordering::SeqCst);
    guarded.deletion(&keys(MAX_PENDING + 10)).run().await;
    let stats = guarded.stats();
    assert_eq!((stats.pending_deletes, stats.lost_deletes), (MAX_PENDING as u64, 10));
    fake.failing.store(false, Ordering::SeqCst);
    while guarded.repair().await {}
    assert_eq!(guarded.stats().pending_deletes, 0);
    assert!(fake.map.lock().contains_key("0"), "given up");
    assert!(guarded.get("0").await.is_none() && guarded.get("other").await.is_none());
    assert!(!guarded.stats().up);
    guarded.set("late", &entry(&[]), Write { as_of: Some(before), ..WRITE }).await;
    assert!(!fake.map.lock().contains_key("late"), "the level does not know that it must refuse it");
    tokio::time::advance(LevelConfig::default().ttl + DELETES_KEPT).await;
    assert!(guarded.get("other").await.is_some() && guarded.stats().up);
}

#[tokio::test(start_paused = true)]
async fn delete_of_a_name_that_is_being_deleted_is_done_once_more() {
    let gate = Arc::new(Semaphore::new(0));
    let (fake, guarded) = over(Fake { gate: Some((Arc::clone(&gate), AtomicBool::new(false))), ..Fake::default() });
    let targets = [Target::Key("k".into())];
    let mut first = tokio_test::task::spawn(guarded.deletion(&targets).run());
    assert!(first.poll().is_pending(), "done there, and its answer on its way");
    fake.map.lock().insert("k".into(), entry(&[]));
    let mut second = tokio_test::task::spawn(guarded.deletion(&targets).run());
    assert!(second.poll().is_pending());
    gate.add_permits(1);
    assert!(first.poll().is_ready());
    assert_eq!(guarded.stats().pending_deletes, 1, "the second is not known to be done");
    gate.add_permits(1);
    assert!(second.poll().is_ready());
    assert_eq!(guarded.stats().pending_deletes, 0);
    assert!(guarded.get("k").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn catching_up_never_costs_one_caller_more_than_a_timeout() {
    let (fake, guarded) = guarded();
    fake.failing.store(true, Ordering::SeqCst);
    for n in 0..100 {
        guarded.deletion(&[Target::Key(n.to_string().into())]).run().await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    fake.failing.store(false, Ordering::SeqCst);
    fake.hanging.store(true, Ordering::SeqCst);
    let start = Instant::now();
    assert!(guarded.get("x").await.is_none());
    assert_eq!(start.elapsed(), Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn delete_that_never_gets_done_in_time_does_not_stand_before_the_others() {
    // Every turn began with it and ended at it, so that those behind it were never done.
    let (_fake, guarded) = guarded();
    guarded.deletion(&[Target::Tag(ENDLESS.into()), Target::Key("a".into()), Target::Tag("b".into())]).run().await;
    assert_eq!(guarded.stats().pending_deletes, 3);
    for _ in 0..2 {
        guarded.repair().await;
    }
    assert_eq!(guarded.take_repaired(), [Target::Key("a".into()), Target::Tag("b".into())]);
    assert_eq!(guarded.stats().pending_deletes, 1);
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
                    1 => { guarded.deletion(&[Target::Key("k".into())]).run().await; deleted = true; }
                    2 => { guarded.deletion(&[Target::Tag("t".into())]).run().await; deleted = true; }
                    3 => tokio::time::advance(Duration::from_millis(400)).await,
                    _ => assert!(guarded.get("k").await.is_none() || !deleted),
                }
            }
        });
    }
}

/// What was written and deleted when, by a clock that counts events.
#[derive(Default)]
struct History {
    events: u64,
    /// By value: when its write had ended.
    written: HashMap<u64, u64>,
    /// What, and from when to when.
    deleted: Vec<(Target, u64, u64)>,
}

impl History {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Whether this value was there before a delete that had ended at `asked`.
    fn is_deleted(&self, key: &str, value: u64, asked: u64) -> bool {
        let Some(written) = self.written.get(&value) else { return false };
        self.deleted.iter().any(|(target, begun, ended)| {
            let named = match target {
                Target::Key(deleted) => **deleted == *key,
                Target::Tag(_) => true,
            };
            named && begun > written && *ended < asked
        })
    }
}

async fn step(guarded: Arc<Guarded>, history: Arc<Mutex<History>>, action: u8, key: &'static str) {
    let begun = history.lock().event();
    match action {
        0 => {
            let payload = Bytes::copy_from_slice(&begun.to_be_bytes());
            let entry = Entry::new(Kind::Bytes, 1, payload, &["t".to_owned()]);
            guarded.set(key, &entry, WRITE).await;
            let mut history = history.lock();
            let ended = history.event();
            history.written.insert(begun, ended);
        }
        1 | 2 => {
            let target = if action == 1 { Target::Key(key.into()) } else { Target::Tag("t".into()) };
            guarded.deletion(std::slice::from_ref(&target)).run().await;
            let mut history = history.lock();
            let ended = history.event();
            history.deleted.push((target, begun, ended));
        }
        _ => {
            let Some(found) = guarded.get(key).await else { return };
            let value = u64::from_be_bytes(found.entry.payload()[..].try_into().unwrap());
            assert!(!history.lock().is_deleted(key, value, begun), "{key}: {value} was deleted");
        }
    }
}

proptest! {
    /// Of several that write, delete and read at once, over a level whose answers are late, lost or failures, none reads
    /// what was deleted before it asked.
    #[test]
    fn deleted_is_never_read_again_by_others(
        steps in proptest::collection::vec((0u8..8, any::<bool>(), 0usize..8), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let gate = Arc::new(Semaphore::new(0));
            let (fake, guarded) =
                over(Fake { gate: Some((Arc::clone(&gate), AtomicBool::new(false))), ..Fake::default() });
            let (guarded, history) = (Arc::new(guarded), Arc::default());
            let mut tasks = Vec::new();
            for (action, other, at) in steps {
                match action {
                    0..4 => {
                        fake.gate.as_ref().unwrap().1.store(at % 2 == 0, Ordering::SeqCst);
                        let key = if other { "k" } else { "l" };
                        tasks.push(tokio::spawn(step(Arc::clone(&guarded), Arc::clone(&history), action, key)));
                    }
                    4 | 5 => gate.add_permits(1),
                    6 => fake.failing.store(other, Ordering::SeqCst),
                    _ if other => tokio::time::advance(Duration::from_millis(20)).await,
                    _ => if at < tasks.len() { tasks[at].abort(); }
                }
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
            }
            gate.add_permits(1000);
            for task in tasks {
                if let Err(ended) = task.await {
                    assert!(ended.is_cancelled(), "{ended}");
                }
            }
        });
    }
}
