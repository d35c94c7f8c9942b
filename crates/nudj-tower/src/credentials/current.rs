//! The current credential: where all find it, and where each service remembers it.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwapOption, Guard};

use super::generation::Generation;

/// The credential that is sent now.
#[derive(Default)]
pub(super) struct Current {
    generation: ArcSwapOption<Generation>,
    /// Counts the changes. Raised after each, so that who remembers what there was looks again.
    version: AtomicU64,
}

impl Current {
    /// For a look: cheaper than another share in it, but a thread has few of these.
    #[inline]
    pub(super) fn load(&self) -> Guard<Option<Arc<Generation>>> {
        self.generation.load()
    }

    pub(super) fn load_full(&self) -> Option<Arc<Generation>> {
        self.generation.load_full()
    }

    pub(super) fn store(&self, new: Arc<Generation>) {
        self.generation.store(Some(new));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Puts `new` in the place of the generation with this number, if that is still there.
    pub(super) fn replace(&self, number: u64, new: &Arc<Generation>) {
        self.generation.rcu(|current| match current {
            Some(current) if current.number == number => Some(Arc::clone(new)),
            other => other.clone(),
        });
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// What a service found last. To look whether it is still that one costs a third of a look at what all share, and no write.
///
/// A clone begins with none, and its first call does without: most clones are made for one call. What was seen last stays in memory until the next
/// call or the service's end, also once it is not current any more.
#[derive(Default)]
pub(super) struct Seen {
    was_called: bool,
    last: Option<(u64, Option<Arc<Generation>>)>,
}

impl Seen {
    /// What is current.
    #[inline]
    pub(super) fn look<'s>(&'s mut self, current: &Current) -> Look<'s> {
        // Before the credential, so that one which is newer than this is looked for again.
        let version = current.version.load(Ordering::Acquire);
        if self.last.as_ref().is_none_or(|(seen, _)| *seen != version) {
            if !std::mem::replace(&mut self.was_called, true) {
                return Look::Shared(current.load());
            }
            self.last = Some((version, current.load_full()));
        }
        Look::Own(self.last.as_ref().and_then(|(_, generation)| generation.as_ref()))
    }
}

/// A look at the current credential. Short: of the shared kind a thread has few.
pub(super) enum Look<'s> {
    Own(Option<&'s Arc<Generation>>),
    Shared(Guard<Option<Arc<Generation>>>),
}

impl Look<'_> {
    #[inline]
    pub(super) fn generation(&self) -> Option<&Arc<Generation>> {
        match self {
            Self::Own(generation) => *generation,
            Self::Shared(guard) => guard.deref().as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn generation(number: u64) -> Arc<Generation> {
        Arc::new(Generation { number, value: HeaderValue::from_static("x"), expires: None, fallback: None })
    }

    fn number(seen: &mut Seen, current: &Current) -> Option<u64> {
        seen.look(current).generation().map(|generation| generation.number)
    }

    #[test]
    fn each_change_is_seen_with_the_next_look() {
        let (current, mut seen) = (Current::default(), Seen::default());
        for _ in 0..3 {
            assert_eq!(number(&mut seen, &current), None);
        }
        current.store(generation(1));
        assert_eq!(number(&mut seen, &current), Some(1));
        current.replace(1, &generation(2));
        assert_eq!(number(&mut seen, &current), Some(2));
        current.replace(1, &generation(3));
        assert_eq!(number(&mut seen, &current), Some(2), "the first is not there any more");
    }

    #[test]
    fn only_from_the_second_look_on_anything_is_remembered() {
        let (current, mut seen) = (Current::default(), Seen::default());
        let first = generation(1);
        current.store(Arc::clone(&first));
        assert_eq!(number(&mut seen, &current), Some(1));
        assert_eq!(Arc::strong_count(&first), 2, "here, and where all find it");
        assert_eq!(number(&mut seen, &current), Some(1));
        assert_eq!(Arc::strong_count(&first), 3);
        current.store(generation(2));
        assert_eq!(number(&mut seen, &current), Some(2));
        assert_eq!(Arc::strong_count(&first), 1, "and it is let go with the next look");
    }
}
