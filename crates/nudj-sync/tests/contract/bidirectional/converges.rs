//! Whatever is edited on either side, in whatever order, with clocks that differ and syncs that are cut off: a sync makes both sides the
//! same, and the next one writes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use nudj_sync::{
    Error, WallClock,
    bidirectional::{Bidirectional, Fields, MemorySide, MemoryState, Policy, Side, Synced, Version, fields},
};
use parking_lot::Mutex;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Clock {
    now: Arc<AtomicI64>,
    ahead: i64,
}

impl WallClock for Clock {
    fn now(&self) -> SystemTime {
        let millis = self.now.load(Ordering::Relaxed) + self.ahead;
        UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap())
    }
}

/// Stops for good after so many operations, and counts what it writes.
struct Watched {
    inner: MemorySide,
    left: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl Watched {
    async fn step(&self) {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Side for Watched {
    async fn read(&self, key: &str, id: Option<&str>) -> Result<Option<Version>, Error> {
        self.step().await;
        self.inner.read(key, id).await
    }

    async fn write(&self, key: &str, fields: &Fields, was: Option<&Version>) -> Result<Option<Version>, Error> {
        self.step().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        let written = self.inner.write(key, fields, was).await;
        self.step().await;
        written
    }

    async fn delete(&self, key: &str, was: &Version) -> Result<(), Error> {
        self.step().await;
        self.writes.fetch_add(1, Ordering::Relaxed);
        let deleted = self.inner.delete(key, was).await;
        self.step().await;
        deleted
    }
}

struct World {
    now: Arc<AtomicI64>,
    sides: [MemorySide; 2],
    left: Arc<AtomicUsize>,
    /// Of the last sync.
    writes: [Arc<AtomicUsize>; 2],
    /// Of those before.
    all_writes: [AtomicUsize; 2],
    sync: Bidirectional<Watched, Watched, MemoryState>,
}

impl World {
    fn new(policy: Policy, ahead: i64) -> Self {
        let now = Arc::new(AtomicI64::new(1_000_000_000));
        let side = |ahead| MemorySide::with_clock(Arc::new(Clock { now: Arc::clone(&now), ahead }));
        let sides = [side(0), side(ahead)];
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let writes = [Arc::default(), Arc::default()];
        let watched = |side: usize| Watched {
            inner: sides[side].clone(),
            left: Arc::clone(&left),
            writes: Arc::clone(&writes[side]),
        };
        let sync = Bidirectional::new(watched(0), watched(1), MemoryState::default(), policy)
            .clock(Arc::new(Clock { now: Arc::clone(&now), ahead: 0 }));
        Self { now, sides: sides.clone(), left, writes, all_writes: Default::default(), sync }
    }

    /// `None` when it was cut off. Nothing here waits, so that one poll is all it takes.
    fn sync(&self, operations: usize) -> Option<Synced> {
        self.left.store(operations, Ordering::Relaxed);
        for (writes, all) in self.writes.iter().zip(&self.all_writes) {
            all.fetch_add(writes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        let mut sync = Box::pin(self.sync.sync("k"));
        match sync.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(synced) => Some(synced.unwrap()),
            Poll::Pending => None,
        }
    }

    /// Each side's, since the beginning.
    fn all_writes(&self) -> usize {
        let of = |side: usize| {
            let (last, before): (&AtomicUsize, &AtomicUsize) = (&self.writes[side], &self.all_writes[side]);
            last.load(Ordering::Relaxed) + before.load(Ordering::Relaxed)
        };
        of(0).max(of(1))
    }

    fn most_writes(&self) -> usize {
        self.writes.iter().map(|writes| writes.load(Ordering::Relaxed)).max().unwrap()
    }

    fn records(&self) -> [Option<Fields>; 2] {
        [0, 1].map(|side| self.sides[side].get("k").map(|version| version.fields))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Edit {
        side: usize,
        field: &'static str,
        value: &'static str,
    },
    Remove {
        side: usize,
    },
    Later {
        millis: i64,
    },
    Sync,
    /// Cut off after so many operations.
    CutOff {
        operations: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let field = prop::sample::select(vec!["displayName", "bio", "profilePictureUrl"]);
    let value = prop::sample::select(vec!["", "a", "b", "c"]);
    let step = prop_oneof![
        6 => (0_usize..2, field, value).prop_map(|(side, field, value)| Step::Edit { side, field, value }),
        1 => (0_usize..2).prop_map(|side| Step::Remove { side }),
        2 => (0_i64..10_000).prop_map(|millis| Step::Later { millis }),
        2 => Just(Step::Sync),
        2 => (0_usize..8).prop_map(|operations| Step::CutOff { operations }),
    ];
    prop::collection::vec(step, 0..30)
}

fn policies() -> impl Strategy<Value = Policy> {
    // Gives the same for the same two versions, and something that neither of them is.
    let joined = |_: &str, local: &Version, remote: &Version| {
        let both = |name: &str| {
            let of = |version: &Version| version.fields.get(name).cloned().unwrap_or_default();
            (of(local)).max(of(remote))
        };
        fields([("displayName", both("displayName").as_str()), ("bio", both("bio").as_str())])
    };
    prop::sample::select(vec![
        Policy::LastWriterWins,
        Policy::FieldMerge,
        Policy::PreferLocal,
        Policy::PreferRemote,
        Policy::Callback(Arc::new(joined)),
    ])
}

/// Or as many as `NUDJ_TEST_CASES` says.
fn cases() -> u32 {
    std::env::var("NUDJ_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_interleaving_of_edits_ends_in_equal_records_that_stay(
        steps in steps(), policy in policies(), ahead in -5_000_i64..5_000,
    ) {
        let world = World::new(policy, ahead);
        // An edit is brought to the other side by one write, and by another where the first was cut off.
        let causes = steps.iter().filter(|step| !matches!(step, Step::Sync | Step::Later { .. })).count();
        for step in steps {
            match step {
                Step::Edit { side, field, value } => world.sides[side].edit("k", |fields| {
                    fields.insert(field.to_owned(), value.to_owned());
                }),
                Step::Remove { side } => world.sides[side].remove("k"),
                Step::Later { millis } => drop(world.now.fetch_add(millis, Ordering::Relaxed)),
                Step::CutOff { operations } => drop(world.sync(operations)),
                Step::Sync => {
                    prop_assert!(world.sync(usize::MAX).is_some());
                    prop_assert!(world.most_writes() <= 1, "more than one write per side");
                    let [local, remote] = world.records();
                    prop_assert_eq!(local, remote);
                    prop_assert_eq!(world.sync(usize::MAX).unwrap(), Synced::default(), "an echo");
                }
            }
        }
        world.sync(usize::MAX).unwrap();
        let [local, remote] = world.records();
        prop_assert_eq!(&local, &remote);
        for _ in 0..3 {
            world.now.fetch_add(60_000, Ordering::Relaxed);
            prop_assert_eq!(world.sync(usize::MAX).unwrap(), Synced::default());
            prop_assert_eq!(world.most_writes(), 0);
        }
        prop_assert_eq!(world.records(), [local, remote]);
        prop_assert!(world.all_writes() <= causes, "{} writes to a side for {causes} edits and cut-offs", world.all_writes());
    }
}

#[test]
fn with_field_merge_no_edit_of_another_field_is_lost() {
    let world = World::new(Policy::FieldMerge, 0);
    world.sides[0].edit("k", |fields| drop(fields.insert("bio".to_owned(), "old".to_owned())));
    world.sync(usize::MAX).unwrap();
    world.sides[0].edit("k", |fields| drop(fields.insert("bio".to_owned(), "new".to_owned())));
    world.sides[1].edit("k", |fields| drop(fields.insert("displayName".to_owned(), "Ada".to_owned())));
    let synced = world.sync(usize::MAX).unwrap();
    assert_eq!((synced.wrote_local, synced.wrote_remote, synced.conflict), (true, true, None));
    let merged = Some(fields([("bio", "new"), ("displayName", "Ada")]));
    assert_eq!(world.records(), [merged.clone(), merged]);
}

/// A side whose user edits the record at the moment in which it is to be written.
struct Edited {
    inner: MemorySide,
    edit: Mutex<Option<&'static str>>,
}

#[async_trait]
impl Side for Edited {
    async fn read(&self, key: &str, id: Option<&str>) -> Result<Option<Version>, Error> {
        self.inner.read(key, id).await
    }

    async fn write(&self, key: &str, fields: &Fields, was: Option<&Version>) -> Result<Option<Version>, Error> {
        if let Some(name) = self.edit.lock().take() {
            self.inner.edit(key, |fields| drop(fields.insert("displayName".to_owned(), name.to_owned())));
        }
        self.inner.write(key, fields, was).await
    }

    async fn delete(&self, key: &str, was: &Version) -> Result<(), Error> {
        self.inner.delete(key, was).await
    }
}

/// Nudj was written to, and the write here was refused because of that edit. The next round took our own write for a later edit there,
/// and the user's was lost to it.
#[tokio::test]
async fn an_edit_here_between_our_two_writes_is_no_conflict_with_the_first_of_them() {
    let now = Arc::new(AtomicI64::new(1_000_000_000));
    let side = |ahead| MemorySide::with_clock(Arc::new(Clock { now: Arc::clone(&now), ahead }));
    // Whatever is written there looks later than what is written here.
    let (here, there) = (side(-60_000), side(0));
    let local = Edited { inner: here.clone(), edit: Mutex::default() };
    let sync = Bidirectional::new(local, there.clone(), MemoryState::default(), Policy::FieldMerge)
        .clock(Arc::new(Clock { now: Arc::clone(&now), ahead: 0 }));
    here.edit("k", |record| *record = fields([("displayName", "Ada"), ("bio", "old")]));
    sync.sync("k").await.unwrap();
    here.edit("k", |fields| drop(fields.insert("displayName".to_owned(), "Ada L.".to_owned())));
    there.edit("k", |fields| drop(fields.insert("bio".to_owned(), "new".to_owned())));
    *sync.local().edit.lock() = Some("Countess");
    let synced = sync.sync("k").await.unwrap();
    assert_eq!(synced.conflict, None);
    let merged = fields([("displayName", "Countess"), ("bio", "new")]);
    assert_eq!((here.get("k").unwrap().fields, there.get("k").unwrap().fields), (merged.clone(), merged));
}
