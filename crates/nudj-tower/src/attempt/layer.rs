use tower_layer::Layer;

use super::Attempt;
use crate::{observe::Observers, randomness::Randomness};

/// Gives each attempt its span, its span id and its number; see the [module's page](super).
#[derive(Clone, Debug, Default)]
pub struct AttemptLayer {
    randomness: Randomness,
    observers: Observers,
}

impl AttemptLayer {
    /// Span ids from the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Span ids from this seed: for tests that compare what is sent.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { randomness: Randomness::seeded(seed), observers: Observers::default() }
    }

    /// Has `observers` learn of each attempt, where one of them [`traces`](crate::observe::Observer::traces) its call.
    #[must_use]
    pub fn observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempt::new(inner, self.randomness.clone(), self.observers.clone())
    }
}
