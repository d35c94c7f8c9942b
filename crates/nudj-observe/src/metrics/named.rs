//! One value per name, for at most so many names: names come from configuration and from what changes at run time.

use std::{collections::HashMap, fmt, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

/// As many names are told apart; the others share one value, named [`OTHER`].
pub(crate) const MAX_NAMES: usize = 64;

/// The name of what has none of its own.
pub(crate) const OTHER: &str = "_OTHER";

pub(crate) struct Named<V> {
    values: RwLock<HashMap<Arc<str>, Arc<V>, RandomState>>,
}

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self { values: RwLock::default() }
    }
}

impl<V> Named<V> {
    /// The value of this name; made by `make` from the name it is kept under.
    pub(crate) fn get(&self, name: &str, make: impl FnOnce(&Arc<str>) -> V) -> Arc<V> {
        if let Some(value) = self.values.read().get(name) {
            return Arc::clone(value);
        }
        let mut values = self.values.write();
        let name: Arc<str> =
            if values.len() < MAX_NAMES || values.contains_key(name) { name.into() } else { OTHER.into() };
        Arc::clone(values.entry(Arc::clone(&name)).or_insert_with(|| Arc::new(make(&name))))
    }

    /// Looks at the value of this name, which is made as by [`get`](Self::get). Not from within: a lock is held meanwhile.
    pub(crate) fn with<T>(&self, name: &str, make: impl FnOnce(&Arc<str>) -> V, look: impl FnOnce(&V) -> T) -> T {
        if let Some(value) = self.values.read().get(name) {
            return look(value);
        }
        look(&self.get(name, make))
    }

    /// The name that this name's value is kept under.
    pub(crate) fn key(&self, name: &str) -> Arc<str> {
        self.values.read().get_key_value(name).map_or_else(|| OTHER.into(), |(name, _)| Arc::clone(name))
    }

    /// All names and values, as they are now.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Arc<V>)> {
        self.values.read().iter().map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect()
    }
}

impl<V> fmt::Debug for Named<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.read().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_share_one_value() {
        let named = Named::default();
        for index in 0..1_000_000 {
            named.get(&index.to_string(), ToString::to_string);
        }
        assert_eq!(named.all().len(), MAX_NAMES + 1);
        assert_eq!(*named.get("5", |_| unreachable!()), "5");
        assert_eq!(*named.get("999999", |_| unreachable!()), OTHER);
    }
}
