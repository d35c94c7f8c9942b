//! A bounded table that only grows. It is looked at several times in every call, so looking takes no lock.

use std::{fmt, sync::OnceLock};

use parking_lot::Mutex;

pub(super) struct Slots<K, V> {
    /// At least twice as many as entries, so that most are found where they are looked for first.
    slots: Box<[OnceLock<(K, V)>]>,
    most: usize,
    /// How many entries there are. Locked while one is made.
    count: Mutex<usize>,
}

impl<K, V> Slots<K, V> {
    pub(super) fn new(most: usize) -> Self {
        let slots = (0..(2 * most).next_power_of_two()).map(|_| OnceLock::new()).collect();
        Self { slots, most, count: Mutex::new(0) }
    }

    /// The entry with this hash whose key it `is`; made if there is none. `None` when there is no room for it. Not from within `make`.
    pub(super) fn get(&self, hash: u64, is: impl Fn(&K) -> bool, make: impl FnOnce() -> (K, V)) -> Option<&(K, V)> {
        self.find(hash, &is).or_else(|| {
            let mut count = self.count.lock();
            if let Some(found) = self.find(hash, &is) {
                return Some(found);
            }
            if *count >= self.most {
                return None;
            }
            let slot = self.from(hash).find(|slot| slot.get().is_none())?;
            *count += 1;
            Some(slot.get_or_init(make))
        })
    }

    pub(super) fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<&(K, V)> {
        self.from(hash).map_while(OnceLock::get).find(|(key, _)| is(key))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &(K, V)> {
        self.slots.iter().filter_map(OnceLock::get)
    }

    /// All slots, from where this hash belongs.
    fn from(&self, hash: u64) -> impl Iterator<Item = &OnceLock<(K, V)>> {
        // A power of two; and the upper bits depend on all of what was hashed.
        let (len, start) = (self.slots.len(), (hash >> 32) as usize);
        (0..len).filter_map(move |step| self.slots.get(start.wrapping_add(step) & (len - 1)))
    }
}

/// What a name is found by. No defence against chosen names: there are never more than fit.
pub(super) fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().fold(bytes.len() as u64, |hash, byte| mix(hash, u64::from(*byte)));
    };
    // The last eight bytes, which may overlap those before.
    let (words, _) = bytes.as_chunks();
    let all = words.iter().chain([last]).map(|word| u64::from_le_bytes(*word));
    all.fold(bytes.len() as u64, mix)
}

pub(super) fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<K: fmt::Debug, V> fmt::Debug for Slots<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_the_first_keys_and_what_was_made_for_each(keys in proptest::collection::vec((0..9u64, 0..40u32), 0..200), most in 1..20usize) {
            let slots = Slots::new(most);
            let mut known = Vec::new();
            for (index, (hash, key)) in keys.into_iter().enumerate() {
                // Few hashes: most collide.
                let found = slots.get(hash << 32, |other| *other == (hash, key), || ((hash, key), index));
                let expected = known.iter().find(|(other, _)| *other == (hash, key)).copied().or_else(|| {
                    (known.len() < most).then(|| {
                        known.push(((hash, key), index));
                        ((hash, key), index)
                    })
                });
                prop_assert_eq!(found.copied(), expected);
            }
            prop_assert_eq!(slots.all().count(), known.len());
        }
    }

    #[test]
    fn threads_that_ask_at_once_get_the_same_entries() {
        let slots = Arc::new(Slots::new(64));
        let ask = |slots: Arc<Slots<u64, u64>>| {
            let look = |key| slots.get(mix(0, key), |other| *other == key, || (key, fastrand::u64(..))).copied();
            (0..64).map(look).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn({
                    let slots = Arc::clone(&slots);
                    move || ask(slots)
                })
            })
            .collect();
        let seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1] && pair[0].iter().all(Option::is_some)));
    }

    #[test]
    fn names_of_a_kind_are_spread() {
        let places: std::collections::HashSet<u64> =
            (0..64).map(|number| hash(&format!("http://10.0.0.{number}:8080")) >> 32 & 127).collect();
        assert!(places.len() > 40, "{}", places.len());
    }
}
