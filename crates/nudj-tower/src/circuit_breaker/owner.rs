//! One circuit owned through several counters.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock, Weak},
};

use super::{handle::Shared, slices::thread_number};

const WAYS: usize = 4;

/// A share in a circuit.
///
/// An `Arc` counts its owners in one place, and the future of every call is an owner: threads would write to that one place with
/// every call, though the breaker itself writes nothing. So a circuit has a few counters, each on cache lines of its own, and a thread
/// uses its own: a clone takes hold of the cloning thread's.
pub(super) enum Owner {
    /// The layer, and the service it made: keeps all ways open.
    All { shared: Arc<Shared>, ways: Arc<[Arc<Way>; WAYS]> },
    /// A clone.
    One(Arc<Way>),
}

/// What a call's future holds of a circuit.
pub(super) enum Lent {
    Way(Arc<Way>),
    /// One of very many circuits, which few threads use at a time.
    Keyed(Arc<Shared>),
}

#[repr(align(128))]
pub(super) struct Way {
    shared: Arc<Shared>,
    ways: OnceLock<[Weak<Way>; WAYS]>,
}

impl Way {
    /// The way of the thread that asks.
    #[inline]
    fn own(self: &Arc<Self>) -> Arc<Self> {
        let own = self.ways.get().and_then(|ways| ways[mine()].upgrade());
        // Where the layer and its first service are gone, so may be the thread's own way: then this one is shared.
        own.unwrap_or_else(|| Arc::clone(self))
    }
}

#[inline]
fn mine() -> usize {
    thread_number() % WAYS
}

impl Owner {
    pub(super) fn new(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let ways = [(); WAYS].map(|()| Arc::new(Way { shared: Arc::clone(&shared), ways: OnceLock::new() }));
        for way in &ways {
            way.ways.get_or_init(|| ways.each_ref().map(Arc::downgrade));
        }
        Self::All { shared, ways: Arc::new(ways) }
    }

    /// Another share that keeps all ways open, if this one does.
    pub(super) fn all(&self) -> Self {
        match self {
            Self::All { shared, ways } => Self::All { shared: Arc::clone(shared), ways: Arc::clone(ways) },
            Self::One(way) => Self::One(Arc::clone(way)),
        }
    }

    /// For the future of one call.
    #[inline]
    pub(super) fn lend(&self) -> Lent {
        Lent::Way(match self {
            Self::All { ways, .. } => Arc::clone(&ways[mine()]),
            // Not the one that it was cloned on: a service that is kept from call to call goes from thread to thread.
            Self::One(way) => way.own(),
        })
    }

    /// The circuit by its one and only counter, for handles.
    #[inline]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::All { shared, .. } => shared,
            Self::One(way) => &way.shared,
        }
    }
}

impl Clone for Owner {
    #[inline]
    fn clone(&self) -> Self {
        Self::One(match self {
            Self::All { ways, .. } => Arc::clone(&ways[mine()]),
            Self::One(way) => way.own(),
        })
    }
}

impl Deref for Owner {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        self.shared()
    }
}

impl Deref for Lent {
    type Target = Shared;

    #[inline]
    fn deref(&self) -> &Shared {
        match self {
            Self::Way(way) => &way.shared,
            Self::Keyed(shared) => shared,
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        circuit_breaker::{Breaker, CircuitBreakerConfig, handle::Surroundings},
        observe::Observers,
    };

    fn owner() -> Owner {
        let breaker = Breaker::new(&CircuitBreakerConfig::default(), 1).unwrap();
        Owner::new(Shared::new(breaker, Surroundings::new(None, Observers::default())))
    }

    #[test]
    fn a_clones_clone_takes_its_own_threads_way() {
        let owner = owner();
        let clone = owner.clone();
        let ways: Vec<_> = (0..64)
            .map(|_| std::thread::scope(|scope| scope.spawn(|| clone.clone()).join().unwrap()))
            .map(|clone| match clone {
                Owner::One(way) => Arc::as_ptr(&way),
                other @ Owner::All { .. } => panic!("a clone has one way: {other:?}"),
            })
            .collect();
        assert!(ways.iter().any(|way| *way != ways[0]), "new threads have numbers of their own");
    }

    #[test]
    fn what_is_left_when_the_layer_is_gone_still_shares_the_circuit_and_nothing_leaks() {
        let owner = owner();
        let shared = Arc::downgrade(owner.shared());
        let clone = owner.clone();
        drop(owner);
        let others = std::thread::scope(|scope| scope.spawn(|| clone.clone()).join().unwrap());
        assert!(Arc::ptr_eq(others.shared(), clone.shared()));
        drop((clone, others));
        assert!(shared.upgrade().is_none(), "no way keeps another alive");
    }
}
