use std::{
    fmt,
    future::Future,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    super::{
        BreakerHandle, CircuitBreakerConfig,
        breaker::Breaker,
        handle::{Shared, Surroundings},
        rules::Rules,
    },
    shard::Shard,
};
use crate::{ConfigError, observe::Observers};

/// More than there are threads that call at once, so that few of them meet.
const SHARDS: usize = 16;
/// A sweep lets calls pass after looking at so many keys.
const SWEEP_STEP: usize = 256;
/// A sweep frees one place in so many, so that a new key finds room without having to make it.
const SPARE: usize = 16;

/// A circuit breaker for each key, for at most so many keys.
///
/// Looking a key up costs the same for one key and for a million. When there is no more room a new key takes the place of one that
/// is closed and was not called for a while, best of one that counts no failure. Run [`sweeper`](Self::sweeper), and it finds room already made; without it
/// the new key's call makes it, by looking at no more than eight others. A key costs about 170 bytes, and with
/// `window_calls` a quarter byte for each of them more; room for the index (60 to 80 bytes a key) is taken at the start.
///
/// A clone shares the circuits.
pub struct KeyedBreakers<K>(Arc<Inner<K>>);

struct Inner<K> {
    rules: Arc<Rules>,
    around: Arc<Surroundings>,
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
    room: usize,
}

impl<K: Hash + Eq> KeyedBreakers<K> {
    /// Circuits by `config` for `max_keys` keys; a little more, when they do not fall evenly.
    ///
    /// `name` stands in errors and refusals' events for all of them: names of keys would be as many series in your metrics. Changes of
    /// state of single keys are not told to observers for that reason.
    ///
    /// # Errors
    /// As [`CircuitBreakerConfig::validate`]; `max_keys` must be 1 to 10 000 000, `window` unset (its four rows of
    /// counts take 2 KiB a key: use `window_calls`).
    pub fn new(
        config: &CircuitBreakerConfig,
        max_keys: usize,
        name: impl Into<Arc<str>>,
        observers: Observers,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if !(1..=10_000_000).contains(&max_keys) {
            return Err(ConfigError::new("max_keys", "must be 1 to 10000000"));
        }
        if config.window.is_some() {
            return Err(ConfigError::new("window", "must not be set for keyed circuits: use window_calls"));
        }
        // Few keys need one shard, lest a shard of one place forgets a key while others are empty.
        let shards = if max_keys < SHARDS * 64 { 1 } else { SHARDS };
        let room = max_keys.div_ceil(shards);
        Ok(Self(Arc::new(Inner {
            rules: Arc::new(Rules::new(config)),
            around: Surroundings::new(Some(name.into()), observers),
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::new(Shard::new(room))).collect(),
            room,
        })))
    }

    /// How many keys have a circuit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether no key has a circuit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The circuit of a key that was called; `None` for one that was not or is forgotten: it would be closed.
    #[must_use]
    pub fn find(&self, key: &K) -> Option<BreakerHandle> {
        let (hash, shard) = self.0.shard(key);
        shard.lock().find(hash, key).map(|circuit| BreakerHandle(Arc::clone(circuit)))
    }

    /// The circuit of a key, made if there is none.
    ///
    /// Hold the handle, and the key is kept as long as there are others to forget.
    #[must_use]
    pub fn circuit(&self, key: K) -> BreakerHandle {
        BreakerHandle(self.shared(key))
    }

    pub(super) fn shared(&self, key: K) -> Arc<Shared> {
        let (hash, shard) = self.0.shard(&key);
        let mut shard = shard.lock();
        if let Some(circuit) = shard.find(hash, &key) {
            return Arc::clone(circuit);
        }
        let breaker = Breaker::with_rules(Arc::clone(&self.0.rules), hash, false);
        let circuit = Arc::new(Shared::new(breaker, Arc::clone(&self.0.around)));
        shard.insert(hash, key, Arc::clone(&circuit));
        circuit
    }

    /// Forgets the keys that were not called since the sweep before, whose circuit is closed and counts no failure and that have no call
    /// in flight; and some more of those if there is little room left. One that counts failures is kept until a new key needs its place,
    /// or a key that is called seldom and always fails would never open. Calls wait for no more than 256 keys to be looked at.
    pub fn sweep(&self) {
        self.0.sweep();
    }

    /// Sweeps now and then, for as long as anybody holds these circuits: spawn it once.
    pub fn sweeper(&self, every: Duration) -> impl Future<Output = ()> + Send + use<K>
    where
        K: Send,
    {
        let circuits = Arc::downgrade(&self.0);
        async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(circuits) = circuits.upgrade() else { return };
                circuits.sweep();
            }
        }
    }
}

impl<K: Hash + Eq> Inner<K> {
    fn shard(&self, key: &K) -> (u64, &Mutex<Shard<K>>) {
        let hash = self.hasher.hash_one(key);
        // The map inside uses the low and the topmost bits.
        (hash, &self.shards[(hash >> 40) as usize % self.shards.len()])
    }

    fn sweep(&self) {
        for shard in &self.shards {
            let mut from = Some(0);
            while let Some(at) = from {
                from = shard.lock().sweep(at, SWEEP_STEP);
            }
            let keep = self.room - self.room / SPARE;
            loop {
                let mut shard = shard.lock();
                if shard.len() <= keep || !shard.spare() {
                    break;
                }
            }
        }
    }
}

impl<K> Clone for KeyedBreakers<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for KeyedBreakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBreakers")
            .field("around", &self.0.around)
            .field("room", &self.0.room)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
