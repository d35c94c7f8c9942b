use std::{
    borrow::Borrow,
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    super::{
        gate::{Gate, Settings},
        meter::Nanos,
    },
    HasGate, Lease,
    overflow::Overflow,
};

/// How many keys a newcomer looks at for some that are idle.
const STEPS: usize = 4;
const SHARDS: usize = 32;

/// A bounded map from keys to their limiters.
///
/// A known key costs one look-up. A new one, once the map is three quarters full, first looks at a few others and lets the idle ones
/// go: those whose window is empty, whom no call uses and who have no quota of their own, who therefore lose nothing. When all are busy
/// it uses the overflow's quota together with others of its kind: stricter than it need be, never laxer, and bounded. Once there is room
/// it leaves the overflow, when none of its calls waits there: a limiter of its own would let newer ones pass besides those and before
/// them.
#[derive(Debug)]
pub(in super::super) struct KeyMap<K> {
    shards: Box<[Mutex<Shard<K>>]>,
    hasher: RandomState,
    len: AtomicUsize,
    /// Which shard is looked at for idle keys next.
    turn: AtomicUsize,
    max_keys: usize,
    overflow: Arc<Overflow>,
    /// Whether a new key may have had calls through the overflow. Changed with `overflowing` locked.
    overflowed: AtomicBool,
    overflowing: Mutex<()>,
    settings: Arc<Settings>,
}

#[derive(Debug)]
struct Shard<K> {
    by_key: HashSet<ByKey<K>>,
    /// The same entries in a row, for the hand that looks for idle ones.
    row: Vec<Arc<Entry<K>>>,
    hand: usize,
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    gate: Gate,
}

#[derive(Debug)]
struct ByKey<K>(Arc<Entry<K>>);

impl<K: Send + Sync> HasGate for Entry<K> {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl<K> Borrow<K> for ByKey<K> {
    fn borrow(&self) -> &K {
        &self.0.key
    }
}

impl<K: Hash> Hash for ByKey<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl<K: PartialEq> PartialEq for ByKey<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<K: Eq> Eq for ByKey<K> {}

impl<K: Eq + Hash + Send + Sync + 'static> KeyMap<K> {
    pub(in super::super) fn new(settings: Arc<Settings>, max_keys: usize) -> Self {
        let shard = || Mutex::new(Shard { by_key: HashSet::new(), row: Vec::new(), hand: 0 });
        Self {
            shards: (0..SHARDS.min(max_keys.max(1))).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            max_keys,
            overflow: Arc::new(Overflow::new(Gate::new(&settings, false))),
            overflowed: AtomicBool::new(false),
            overflowing: Mutex::new(()),
            settings,
        }
    }

    /// The limiter of `key`: its own, a new one, or the overflow's.
    pub(in super::super) fn get(&self, key: K) -> Lease {
        let place = self.place(&key);
        match self.find(place, &key) {
            Some(lease) => lease,
            None => self.add(place, key),
        }
    }

    /// The limiter of `key`, if it has one of its own.
    pub(in super::super) fn peek(&self, key: &K) -> Option<Lease> {
        self.find(self.place(key), key)
    }

    pub(in super::super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Every limiter there is. A shard at a time, so that calls go on meanwhile.
    pub(in super::super) fn each(&self, mut visit: impl FnMut(&Gate)) {
        visit(&self.overflow.gate);
        for shard in &self.shards {
            let gates: Vec<_> = shard.lock().row.clone();
            gates.iter().for_each(|entry| visit(&entry.gate));
        }
    }

    /// Lets all idle keys go; how many those were.
    pub(in super::super) fn evict_idle(&self) -> usize {
        let now = self.settings.now();
        self.shards
            .iter()
            .map(|shard| {
                let mut shard = shard.lock();
                let all = shard.row.len();
                shard.hand = 0;
                self.evict(&mut shard, all, now)
            })
            .sum()
    }

    fn place(&self, key: &K) -> usize {
        (self.hasher.hash_one(key) % self.shards.len().max(1) as u64) as usize
    }

    fn find(&self, place: usize, key: &K) -> Option<Lease> {
        let shard = self.shards.get(place)?.lock();
        Some(Lease::new(Arc::clone(&shard.by_key.get(key)?.0)))
    }

    #[cold]
    fn add(&self, place: usize, key: K) -> Lease {
        let now = self.settings.now();
        if self.len() >= self.max_keys - self.max_keys / 4 {
            self.make_room(now);
        }
        let hash = self.hasher.hash_one(&key);
        let Some(shard) = self.shards.get(place) else { return self.overflow(hash) };
        let mut shard = shard.lock();
        if let Some(known) = shard.by_key.get(&key) {
            return Lease::new(Arc::clone(&known.0));
        }
        let room = |len| (len < self.max_keys).then_some(len + 1);
        if (self.overflowed.load(Ordering::Acquire) && self.overflow.makes_wait(hash))
            || self.len.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err()
        {
            return self.overflow(hash);
        }
        let entry = Arc::new(Entry { key, gate: self.gate(now) });
        shard.by_key.insert(ByKey(Arc::clone(&entry)));
        shard.row.push(Arc::clone(&entry));
        Lease::new(entry)
    }

    fn overflow(&self, hash: u64) -> Lease {
        let _overflowing = self.overflowing.lock();
        self.overflowed.store(true, Ordering::Release);
        self.overflow.lease(hash)
    }

    /// A new key's limiter. It may have had calls through the overflow, so while that is in use it starts from what that knows.
    fn gate(&self, now: Nanos) -> Gate {
        if self.overflowed.load(Ordering::Acquire) {
            let _overflowing = self.overflowing.lock();
            // A call that holds it may not have asked it yet.
            if Arc::strong_count(&self.overflow) > 1 || !self.overflow.gate.is_idle(now) {
                return self.overflow.gate.fork();
            }
            self.overflowed.store(false, Ordering::Release);
        }
        Gate::new(&self.settings, false)
    }

    /// Looks at a few keys, in the next shard that has so many, and lets the idle ones go.
    fn make_room(&self, now: Nanos) {
        let mut steps = STEPS;
        for _ in 0..self.shards.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            if let Some(shard) = self.shards.get(turn % self.shards.len()) {
                let mut shard = shard.lock();
                let looked_at = steps.min(shard.row.len());
                self.evict(&mut shard, looked_at, now);
                steps -= looked_at;
            }
            if steps == 0 {
                return;
            }
        }
    }

    /// Looks at the next `steps` keys of a shard; how many of them it let go.
    fn evict(&self, shard: &mut Shard<K>, steps: usize, now: Nanos) -> usize {
        let mut gone = 0;
        for _ in 0..steps {
            let Some(index) = shard.hand.checked_rem(shard.row.len()) else { break };
            let Some(entry) = shard.row.get(index) else { break };
            // Held by the set and by the row only: nobody else can get hold of it while the shard is locked.
            if Arc::strong_count(entry) == 2 && entry.gate.is_idle(now) {
                shard.by_key.remove(&entry.key);
                shard.row.swap_remove(index);
                shard.hand = index;
                self.len.fetch_sub(1, Ordering::Relaxed);
                gone += 1;
            } else {
                shard.hand = index + 1;
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests;
