use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::{handle::RoundRobinHandle, registry::Registry};

/// A [`RoundRobinHandle`] that does not keep the list: for who is held by what the list's services hold, such as an observer.
#[derive(Clone)]
pub struct WeakRoundRobinHandle(Weak<Registry>);

impl WeakRoundRobinHandle {
    pub(super) fn of(registry: &Arc<Registry>) -> Self {
        Self(Arc::downgrade(registry))
    }

    /// The handle, as long as a layer, a service, a call or another handle has the list.
    #[must_use]
    pub fn upgrade(&self) -> Option<RoundRobinHandle> {
        self.0.upgrade().map(|registry| RoundRobinHandle { registry })
    }
}

impl fmt::Debug for WeakRoundRobinHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakRoundRobinHandle").field("is_gone", &(self.0.strong_count() == 0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use tower_layer::Layer;

    use crate::round_robin::{Endpoint, PlainLayer, RoundRobinConfig, RoundRobinLayer};

    #[test]
    fn goes_with_the_last_who_has_the_list() {
        let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), [Endpoint::new("a")], |_: &Endpoint| PlainLayer)
            .unwrap();
        let weak = layer.handle().downgrade();
        let service = layer.layer(());
        let clone = service.clone();
        drop((layer, service));
        assert_eq!(&*weak.upgrade().unwrap().endpoints()[0].name, "a");
        drop(clone);
        assert!(weak.upgrade().is_none());
    }
}
