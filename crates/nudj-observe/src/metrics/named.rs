//! One value per name, for at most so many names: names come from configuration and from what changes at run time.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::slots::{Slots, hash};

/// As many names are told apart; the others share one value, named [`OTHER`].
pub(crate) const MAX_NAMES: usize = 64;

/// The name of what has none of its own.
pub(crate) const OTHER: &str = "_OTHER";

pub(crate) struct Named<V> {
    values: Slots<Arc<str>, V>,
    other: OnceLock<(Arc<str>, V)>,
}

impl<V> Default for Named<V> {
    fn default() -> Self {
        Self { values: Slots::new(MAX_NAMES), other: OnceLock::new() }
    }
}

impl<V> Named<V> {
    /// The value of this name; made by `make` from the name it is kept under. Not from within `make`.
    pub(crate) fn get(&self, name: &str, make: impl Fn(&Arc<str>) -> V) -> &V {
        &self.entry(name, make).1
    }

    /// The name that this name's value is kept under, with the value.
    pub(crate) fn entry(&self, name: &str, make: impl Fn(&Arc<str>) -> V) -> &(Arc<str>, V) {
        let made = |name: &str| {
            let name = Arc::from(name);
            let value = make(&name);
            (name, value)
        };
        let own = if name == OTHER { None } else { self.values.get(hash(name), |key| **key == *name, || made(name)) };
        own.unwrap_or_else(|| self.other.get_or_init(|| made(OTHER)))
    }

    /// Whether this name has been seen, and has a value of its own.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.values.find(hash(name), |key| **key == *name).is_some()
    }

    /// All names and values, as they are now.
    pub(crate) fn all(&self) -> impl Iterator<Item = &(Arc<str>, V)> {
        self.values.all().chain(self.other.get())
    }
}

impl<V> fmt::Debug for Named<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().map(|(name, _)| name)).finish()
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
        assert_eq!(named.all().count(), MAX_NAMES + 1);
        assert_eq!(named.get("5", |_| unreachable!()), "5");
        assert_eq!(named.get("999999", |_| unreachable!()), OTHER);
        assert_eq!(named.get(OTHER, |_| unreachable!()), OTHER);
    }
}
