//! One part of the keys: found by hash, forgotten by a hand that goes round.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use super::super::{breaker::Loss, handle::Shared};

/// How many places the hand looks at before it settles for the best it saw: what one new key may cost when all room is taken.
const LOOKS: usize = 8;

/// At most `room` keys. Whatever it does costs the same however many there are.
#[derive(Debug)]
pub(super) struct Shard<K> {
    kept: HashMap<u64, Kept<K>, BuildHasherDefault<Hashed>>,
    /// The hashes of what is kept, for the hand.
    round: Vec<u64>,
    room: usize,
    hand: usize,
}

#[derive(Debug)]
struct Kept<K> {
    key: K,
    circuit: Arc<Shared>,
    /// Its place in the round.
    at: u32,
    /// Since the hand last came by.
    used: bool,
}

impl<K> Kept<K> {
    /// How little is lost with it: 0 the least.
    fn loss(&self) -> u8 {
        let in_flight = Arc::strong_count(&self.circuit) > 1;
        match (self.circuit.breaker.loss(), in_flight) {
            (Loss::Nothing, false) => 0,
            (Loss::Counts, false) => 1,
            (Loss::Nothing | Loss::Counts, true) => 2,
            (Loss::State, _) => 3,
        }
    }
}

impl<K: Eq> Shard<K> {
    pub(super) fn new(room: usize) -> Self {
        // All at once: growing would move everything while a call waits.
        let kept = HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
        Self { kept, round: Vec::with_capacity(room), room, hand: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.round.len()
    }

    /// The circuit of `key`, which hashes to `hash`.
    pub(super) fn find(&mut self, hash: u64, key: &K) -> Option<&Arc<Shared>> {
        let kept = self.kept.get_mut(&hash).filter(|kept| kept.key == *key)?;
        kept.used = true;
        Some(&kept.circuit)
    }

    /// Keeps the circuit of a key that was not found. Of two keys with one 64-bit hash, the later is kept.
    pub(super) fn insert(&mut self, hash: u64, key: K, circuit: Arc<Shared>) {
        self.remove(hash);
        if self.round.len() >= self.room {
            self.make_room();
        }
        if let Ok(at) = u32::try_from(self.round.len()) {
            self.kept.insert(hash, Kept { key, circuit, at, used: true });
            self.round.push(hash);
        }
    }

    /// Forgets one key at all costs.
    fn make_room(&mut self) {
        if let Some((_, hash)) = self.least() {
            self.remove(hash);
        }
    }

    /// Forgets one key with which nothing is lost, though it was called; whether it found one.
    pub(super) fn spare(&mut self) -> bool {
        match self.least() {
            Some((0, hash)) => {
                self.remove(hash);
                true
            }
            _ => false,
        }
    }

    /// The first that the hand finds unused, closed, without a failure counted or a call in flight, else the best it saw; and what is lost with it.
    fn least(&mut self) -> Option<(u8, u64)> {
        let mut best: Option<((u8, bool), u64)> = None;
        for _ in 0..LOOKS {
            self.hand = if self.hand + 1 < self.round.len() { self.hand + 1 } else { 0 };
            let (hash, kept) = self.at(self.hand)?;
            let loss = (kept.loss(), std::mem::take(&mut kept.used));
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, hash));
            }
            if loss == (0, false) {
                break;
            }
        }
        best.map(|((loss, _), hash)| (loss, hash))
    }

    /// Looks at up to `count` places from `from` on and forgets those that nobody used since the last time, if nothing is lost
    /// with them. Returns where to go on, `None` at the end.
    pub(super) fn sweep(&mut self, from: usize, count: usize) -> Option<usize> {
        let mut at = from;
        for _ in 0..count {
            let (hash, kept) = self.at(at)?;
            if !std::mem::take(&mut kept.used) && kept.loss() == 0 {
                // The last of the round comes here; it is looked at next.
                self.remove(hash);
            } else {
                at += 1;
            }
        }
        Some(at)
    }

    fn at(&mut self, at: usize) -> Option<(u64, &mut Kept<K>)> {
        let hash = *self.round.get(at)?;
        Some((hash, self.kept.get_mut(&hash)?))
    }

    fn remove(&mut self, hash: u64) {
        let Some(gone) = self.kept.remove(&hash) else { return };
        self.round.swap_remove(gone.at as usize);
        if let Some((_, moved)) = self.at(gone.at as usize) {
            moved.at = gone.at;
        }
    }
}

/// The keys of the map are hashes already.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
