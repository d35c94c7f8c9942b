//! Where keys are kept.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::{Future, Ready, ready},
    num::NonZeroUsize,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::BoxError;

/// Keeps keys, so that a request that is made again after a restart carries the key it had.
pub trait KeyStore {
    /// The wait for the store. Dropped, it may or may not have kept the key; asked again it settles on one.
    type Future: Future<Output = Result<String, BoxError>> + Send;

    /// The key kept under `name`; when there is none, `new_key` is kept and returned. Of two that ask at once, both get the same.
    ///
    /// An error means that the request is not sent: without its key it might be done twice.
    fn get_or_insert(&self, name: String, new_key: String) -> Self::Future;
}

impl<K: KeyStore + ?Sized> KeyStore for Arc<K> {
    type Future = K::Future;

    fn get_or_insert(&self, name: String, new_key: String) -> Self::Future {
        (**self).get_or_insert(name, new_key)
    }
}

/// Keeps keys in memory, the last so many. They are shared by clones and gone after a restart.
#[derive(Clone)]
pub struct MemoryKeys {
    kept: Arc<Mutex<Kept>>,
    capacity: usize,
}

#[derive(Default)]
struct Kept {
    keys: HashMap<Arc<str>, String>,
    oldest_first: VecDeque<Arc<str>>,
}

impl MemoryKeys {
    /// Keeps up to `capacity` keys; the oldest goes when one more comes.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { kept: Arc::default(), capacity: capacity.get() }
    }

    /// Forgets a key, so that the next request of this name gets a new one.
    pub fn forget(&self, name: &str) {
        let kept = &mut *self.kept.lock();
        if kept.keys.remove(name).is_some() {
            kept.oldest_first.retain(|known| &**known != name);
        }
    }

    /// How many keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.lock().keys.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyStore for MemoryKeys {
    type Future = Ready<Result<String, BoxError>>;

    fn get_or_insert(&self, name: String, new_key: String) -> Self::Future {
        let kept = &mut *self.kept.lock();
        if let Some(known) = kept.keys.get(name.as_str()) {
            return ready(Ok(known.clone()));
        }
        if kept.keys.len() >= self.capacity
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.keys.remove(&oldest);
        }
        let name: Arc<str> = name.into();
        kept.oldest_first.push_back(Arc::clone(&name));
        kept.keys.insert(name, new_key.clone());
        ready(Ok(new_key))
    }
}

impl fmt::Debug for MemoryKeys {
    /// Without the names, which may be persons', and the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeys").field("len", &self.len()).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_the_first_key_of_each_of_the_last_names(
            names in proptest::collection::vec(0u8..12, 0..60), capacity in 1usize..8,
        ) {
            let store = MemoryKeys::new(NonZeroUsize::new(capacity).unwrap());
            let mut model: VecDeque<(u8, String)> = VecDeque::new();
            for (n, name) in names.into_iter().enumerate() {
                let new = n.to_string();
                let expected = match model.iter().find(|(known, _)| *known == name) {
                    Some((_, key)) => key.clone(),
                    None => {
                        if model.len() == capacity {
                            model.pop_front();
                        }
                        model.push_back((name, new.clone()));
                        new.clone()
                    }
                };
                let key = store.get_or_insert(name.to_string(), new).into_inner().unwrap();
                prop_assert_eq!(key, expected);
                prop_assert!(store.len() <= capacity);
                prop_assert_eq!(store.kept.lock().oldest_first.len(), store.len());
            }
        }
    }

    #[test]
    fn neither_names_nor_keys_are_printed() {
        let store = MemoryKeys::new(NonZeroUsize::new(7).unwrap());
        store.get_or_insert("POST /rewards/7/claim anna@example.org".into(), "k3y".into()).into_inner().unwrap();
        let printed = format!("{store:?}");
        assert!(!printed.contains("anna") && !printed.contains("k3y"), "{printed}");
        assert!(printed.contains('7') && printed.contains('1'), "what it takes and what it has: {printed}");
    }

    #[test]
    fn a_forgotten_name_gets_a_new_key() {
        let store = MemoryKeys::new(NonZeroUsize::MIN);
        let ask = |key: &str| store.get_or_insert("name".into(), key.into()).into_inner().unwrap();
        assert_eq!((ask("1"), ask("2")), ("1".into(), "1".into()));
        store.forget("other");
        store.forget("name");
        assert!(store.is_empty());
        assert_eq!(ask("3"), "3");
        assert_eq!(store.kept.lock().oldest_first.len(), 1);
    }
}
