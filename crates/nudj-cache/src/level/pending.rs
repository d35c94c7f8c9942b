//! Deletes that did not get through to a level yet. Plain values; nothing here waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::entry::Entry;

/// What a delete names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Arc<str>),
    Tag(Arc<str>),
}

/// Each target once, the one that was noted longest ago first.
///
/// Every note has a number of its own, also one of a target that is there already: the delete that is under way for the
/// earlier note may have reached the level before a write that this one is to undo, so its end strikes nothing.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Numbers given so far.
    numbers: u64,
    targets: BTreeMap<u64, Target>,
    keys: HashMap<Arc<str>, u64>,
    tags: HashMap<Arc<str>, u64>,
}

impl Pending {
    /// Notes a delete behind all others, and gives its number.
    pub(crate) fn note(&mut self, target: Target) -> u64 {
        self.numbers = self.numbers.saturating_add(1);
        let number = self.numbers;
        let earlier = match &target {
            Target::Key(key) => self.keys.insert(Arc::clone(key), number),
            Target::Tag(tag) => self.tags.insert(Arc::clone(tag), number),
        };
        if let Some(earlier) = earlier {
            self.targets.remove(&earlier);
        }
        self.targets.insert(number, target);
        number
    }

    /// Takes a delete off, unless it was noted anew or struck off since.
    pub(crate) fn strike(&mut self, number: u64) -> Option<Target> {
        let target = self.targets.remove(&number)?;
        match &target {
            Target::Key(key) => self.keys.remove(key),
            Target::Tag(tag) => self.tags.remove(tag),
        };
        Some(target)
    }

    /// The one that was noted longest ago.
    pub(crate) fn first(&self) -> Option<(u64, Target)> {
        self.targets.first_key_value().map(|(number, target)| (*number, target.clone()))
    }

    /// Whether one of them names this entry. A tag is also a key.
    pub(crate) fn names(&self, key: &str, entry: &Entry) -> bool {
        self.keys.contains_key(key)
            || (!self.tags.is_empty()
                && (self.tags.contains_key(key) || entry.tags().any(|tag| self.tags.contains_key(tag))))
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: order, numbers and names agree whatever is noted and struck off.
        #[test]
        fn it_is_a_list_without_repetitions(steps in proptest::collection::vec((0u8..3, 0u8..4), 0..60)) {
            let mut pending = Pending::default();
            let mut list: Vec<(u64, Target)> = Vec::new();
            let entry = Entry::new(crate::Kind::Bytes, 1, bytes::Bytes::new(), &["1".to_owned()]);
            for (step, name) in steps {
                let name: Arc<str> = name.to_string().into();
                match step {
                    0 | 1 => {
                        let target = if step == 0 { Target::Key(name) } else { Target::Tag(name) };
                        list.retain(|(_, noted)| *noted != target);
                        list.push((pending.note(target.clone()), target));
                    }
                    _ => {
                        let number = list.first().map_or(0, |(number, _)| *number);
                        let first = (!list.is_empty()).then(|| list.remove(0).1);
                        prop_assert_eq!(pending.strike(number), first);
                        prop_assert_eq!(pending.strike(number), None, "once");
                    }
                }
                prop_assert_eq!(pending.first(), list.first().cloned());
                prop_assert_eq!((pending.len(), pending.keys.len() + pending.tags.len()), (list.len(), list.len()));
                let has = |target| list.iter().any(|(_, noted)| *noted == target);
                let named = has(Target::Key("0".into())) || has(Target::Tag("0".into())) || has(Target::Tag("1".into()));
                prop_assert_eq!(pending.names("0", &entry), named);
            }
        }
    }
}
