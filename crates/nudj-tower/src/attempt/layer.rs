use tower_layer::Layer;

use super::Attempt;
use crate::randomness::Randomness;

/// Gives each attempt its span, its span id and its number; see the [module's page](super).
#[derive(Clone, Debug, Default)]
pub struct AttemptLayer {
    randomness: Randomness,
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
        Self { randomness: Randomness::seeded(seed) }
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Attempt::new(inner, self.randomness.clone())
    }
}
