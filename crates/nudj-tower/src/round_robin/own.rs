//! What one service keeps for itself from call to call, so that a call need not clone what it is sent by.
//!
//! Only where all that is below [reserves nothing](super::RoundRobinLayer::reserves_nothing) in being ready: an instance that holds a permit and is
//! not called, since what stands in between refused, would hold it until this service's next call.

use std::sync::Arc;

use super::{
    search::Found,
    service::{List, Shared},
};
use crate::Available;

/// The instances that belong to one service. A clone begins with none, and the first call on it goes to a clone of what all share: most clones
/// are made for one call.
///
/// An endpoint that is taken out is let go with the next call on this service, as it is from what all share with the next call on any.
pub(super) struct Own<S> {
    keeps: bool,
    was_called: bool,
    list: Option<Instances<S>>,
}

struct Instances<S> {
    list: Arc<List<S>>,
    /// In the list's order; each there once it was called.
    services: Vec<Option<S>>,
}

impl<S> Own<S> {
    /// Instances that are kept, or are not.
    pub(super) fn new(keeps: bool) -> Self {
        Self { keeps, was_called: false, list: None }
    }

    /// None yet, for a clone.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.keeps)
    }
}

impl<S: Available + Clone> Own<S> {
    /// The list as it is now, and the instances; `None` with the first call, and where none are kept.
    #[inline]
    pub(super) fn of(&mut self, shared: &Shared<S>) -> Option<(&List<S>, &mut [Option<S>])> {
        if !self.keeps {
            return None;
        }
        let is_current = |own: &Instances<S>| own.list.set.version == shared.registry.version();
        if !self.list.as_ref().is_some_and(is_current) {
            if !std::mem::replace(&mut self.was_called, true) {
                return None;
            }
            self.renew(shared);
        }
        self.list.as_mut().map(|own| (&*own.list, &mut *own.services))
    }

    #[cold]
    fn renew(&mut self, shared: &Shared<S>) {
        let list = Arc::clone(&shared.list());
        let services = list.services.iter().map(|_| None).collect();
        self.list = Some(Instances { list, services });
    }
}

/// Takes an instance out, to be put back once it was called: not after a panic, nor one that refused or was not ready.
#[inline]
pub(super) fn take<S: Clone>(list: &List<S>, services: &mut [Option<S>], found: &Found) -> S {
    services.get_mut(found.place).and_then(Option::take).unwrap_or_else(|| list.services[found.place].clone())
}
