//! Where the calls of keys go for which there is no room.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::{super::gate::Gate, HasGate, Lease};

/// One limiter for all of them, and which of them wait there.
#[derive(Debug)]
pub(super) struct Overflow {
    pub(super) gate: Gate,
    /// How many calls of a key wait, by the key's hash: no more entries than there are such calls. Two keys of one hash keep each other
    /// here, which is stricter than it need be and no more.
    waiting: Mutex<HashMap<u64, usize>>,
}

/// A call's lease of it.
#[derive(Debug)]
struct Spilled {
    overflow: Arc<Overflow>,
    hash: u64,
    waits: AtomicBool,
}

impl Overflow {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate, waiting: Mutex::default() }
    }

    /// For a call of the key with this hash.
    pub(super) fn lease(self: &Arc<Self>, hash: u64) -> Lease {
        Lease::new(Arc::new(Spilled { overflow: Arc::clone(self), hash, waits: AtomicBool::new(false) }))
    }

    /// Whether a call of the key with this hash waits.
    pub(super) fn makes_wait(&self, hash: u64) -> bool {
        self.waiting.lock().contains_key(&hash)
    }

    fn count(&self, hash: u64, waits: bool) {
        match self.waiting.lock().entry(hash) {
            Entry::Occupied(mut calls) if waits => *calls.get_mut() += 1,
            Entry::Occupied(mut calls) if *calls.get() > 1 => *calls.get_mut() -= 1,
            Entry::Occupied(calls) => drop(calls.remove()),
            Entry::Vacant(calls) if waits => drop(calls.insert(1)),
            Entry::Vacant(_) => {}
        }
    }
}

impl HasGate for Spilled {
    fn gate(&self) -> &Gate {
        &self.overflow.gate
    }

    fn waits(&self, waits: bool) {
        if self.waits.swap(waits, Ordering::Relaxed) != waits {
            self.overflow.count(self.hash, waits);
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.waits(false);
    }
}
