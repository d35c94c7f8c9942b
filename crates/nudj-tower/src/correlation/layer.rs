use tower_layer::Layer;

use super::{Correlation, CorrelationServer};
use crate::randomness::Randomness;

/// Gives every call that goes out a correlation id and a trace. See the [module's page](super).
#[derive(Clone, Debug, Default)]
pub struct CorrelationLayer {
    randomness: Randomness,
}

impl CorrelationLayer {
    /// Ids from the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trace and span ids, and the random part of correlation ids, from this seed: for tests that compare what is sent.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { randomness: Randomness::seeded(seed) }
    }
}

impl<S> Layer<S> for CorrelationLayer {
    type Service = Correlation<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Correlation::new(inner, self.randomness.clone())
    }
}

/// Takes or makes the correlation id of every call that comes in, keeps it for what the handler sends, and echoes it in the
/// answer. See the [module's page](super).
///
/// ```
/// use axum::{Router, routing::get};
/// use nudj_tower::correlation::{self, CorrelationServerLayer};
///
/// let app: Router = Router::new()
///     .route("/", get(|| async { correlation::current().is_some().to_string() }))
///     .layer(CorrelationServerLayer::new());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CorrelationServerLayer {
    randomness: Randomness,
}

impl CorrelationServerLayer {
    /// Ids from the system's randomness.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ids from this seed: for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { randomness: Randomness::seeded(seed) }
    }
}

impl<S> Layer<S> for CorrelationServerLayer {
    type Service = CorrelationServer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CorrelationServer::new(inner, self.randomness.clone())
    }
}
