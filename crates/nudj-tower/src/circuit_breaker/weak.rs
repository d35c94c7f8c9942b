use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::handle::{BreakerHandle, Shared};

/// A [`BreakerHandle`] that does not keep its circuit: for lists of circuits that come and go.
#[derive(Clone)]
pub struct WeakBreakerHandle(Weak<Shared>);

impl WeakBreakerHandle {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// The handle, as long as a layer, a service, a call or another handle has the circuit.
    #[must_use]
    pub fn upgrade(&self) -> Option<BreakerHandle> {
        self.0.upgrade().map(BreakerHandle)
    }

    /// Whether the circuit is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for WeakBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakBreakerHandle").field("is_gone", &self.is_gone()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tower_layer::Layer;

    use crate::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};

    #[test]
    fn goes_with_the_last_who_has_the_circuit() {
        let layer = CircuitBreakerLayer::new(&CircuitBreakerConfig::default()).unwrap().named("a");
        let weak = layer.handle().downgrade();
        let service = layer.layer(());
        let clone = service.clone();
        drop((layer, service));
        assert_eq!(weak.upgrade().unwrap().name(), "a");
        drop(clone);
        assert!(weak.is_gone() && weak.upgrade().is_none());
    }
}
