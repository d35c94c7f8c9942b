//! One limiter for all calls, or one for each key.

mod map;
mod overflow;

use std::{fmt, hash::Hash, sync::Arc};

pub(super) use self::map::KeyMap;
use super::gate::{Gate, Settings};

/// Finds the limiter of a request. Implemented by [`Single`] and [`Keyed`] only.
pub trait Limiters<Req>: Leases {
    #[doc(hidden)]
    fn of(&self, request: &Req) -> Self::Own;
}

/// How a call reaches its limiter. Implemented by [`Single`] and [`Keyed`] only.
pub trait Leases: sealed::Sealed {
    /// What a call keeps besides the layer's shared state.
    #[doc(hidden)]
    type Own;

    #[doc(hidden)]
    fn lease<'l>(&'l self, own: &'l Self::Own) -> &'l Lease;
}

mod sealed {
    pub trait Sealed {}
}

/// A limiter in use; keeps its key from eviction.
#[derive(Clone)]
pub struct Lease(Arc<dyn HasGate>);

pub(super) trait HasGate: Send + Sync {
    fn gate(&self) -> &Gate;

    /// A call of this lease stands in line from here on, or does so no more.
    fn waits(&self, _: bool) {}
}

impl HasGate for Gate {
    fn gate(&self) -> &Gate {
        self
    }
}

impl Lease {
    pub(super) fn new(gate: Arc<impl HasGate + 'static>) -> Self {
        Self(gate)
    }

    #[inline]
    pub(super) fn gate(&self) -> &Gate {
        self.0.gate()
    }

    /// Says whether the call that has it stands in line. Dropped, it does not.
    pub(super) fn waits(&self, waits: bool) {
        self.0.waits(waits);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gate().fmt(f)
    }
}

/// One quota for all calls.
#[derive(Clone, Debug)]
pub struct Single(Lease);

impl Single {
    pub(super) fn new(settings: &Arc<Settings>) -> Self {
        Self(Lease::new(Arc::new(Gate::new(settings, true))))
    }

    pub(super) fn lease(&self) -> Lease {
        self.0.clone()
    }
}

impl sealed::Sealed for Single {}

impl Leases for Single {
    /// The one limiter lives as long as the layer's state.
    type Own = ();

    fn lease<'l>(&'l self, (): &'l ()) -> &'l Lease {
        &self.0
    }
}

impl<Req> Limiters<Req> for Single {
    fn of(&self, _: &Req) {}
}

/// A quota for each key that the function `F` finds in a request.
pub struct Keyed<F, K>(Arc<State<F, K>>);

struct State<F, K> {
    key: F,
    map: Arc<KeyMap<K>>,
}

impl<F, K: Eq + Hash + Send + Sync + 'static> Keyed<F, K> {
    pub(super) fn new(key: F, map: KeyMap<K>) -> Self {
        Self(Arc::new(State { key, map: Arc::new(map) }))
    }

    pub(super) fn map(&self) -> &Arc<KeyMap<K>> {
        &self.0.map
    }
}

impl<F: Clone, K: Eq + Hash + Send + Sync + 'static> Keyed<F, K> {
    pub(super) fn over(&self, map: KeyMap<K>) -> Self {
        Self::new(self.0.key.clone(), map)
    }
}

impl<F, K> sealed::Sealed for Keyed<F, K> {}

impl<F, K> Leases for Keyed<F, K> {
    type Own = Lease;

    fn lease<'l>(&'l self, own: &'l Lease) -> &'l Lease {
        own
    }
}

impl<Req, F, K> Limiters<Req> for Keyed<F, K>
where
    F: Fn(&Req) -> K,
    K: Eq + Hash + Send + Sync + 'static,
{
    fn of(&self, request: &Req) -> Lease {
        self.0.map.get((self.0.key)(request))
    }
}

impl<F, K> Clone for Keyed<F, K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F, K> fmt::Debug for Keyed<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
