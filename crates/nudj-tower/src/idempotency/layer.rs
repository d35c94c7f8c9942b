use tower_layer::Layer;

use super::{Generated, Idempotency, IdempotencyConfig};

/// Gives POST and PATCH requests a key. See the [module's page](super).
#[derive(Clone, Debug)]
pub struct IdempotencyLayer<K = Generated> {
    enabled: bool,
    source: K,
}

impl IdempotencyLayer {
    /// Does as `config` says; as it stands by default, nothing.
    #[must_use]
    pub fn new(config: IdempotencyConfig) -> Self {
        Self { enabled: config.idempotency_keys, source: Generated }
    }

    /// Gives keys: a new UUIDv7 per call.
    #[must_use]
    pub fn on() -> Self {
        Self::new(IdempotencyConfig { idempotency_keys: true })
    }
}

impl<K> IdempotencyLayer<K> {
    /// Takes the keys from `source`: [`Derived`](super::Derived), [`Stored`](super::Stored) or one of your own.
    #[must_use]
    pub fn source<L>(self, source: L) -> IdempotencyLayer<L> {
        IdempotencyLayer { enabled: self.enabled, source }
    }
}

impl<S, K: Clone> Layer<S> for IdempotencyLayer<K> {
    type Service = Idempotency<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotency::new(inner, self.enabled, self.source.clone())
    }
}
