use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Metrics, service::Shared};
use crate::{
    classify::{Any, Http},
    observe::Observers,
};

/// Tells observers and the log about each call. See the [module's page](super).
#[derive(Clone)]
pub struct MetricsLayer<C = Http> {
    shared: Arc<Shared<C>>,
}

impl MetricsLayer {
    /// Tells `observers` about HTTP calls; [`Observers::default`] when only the log is wanted.
    #[must_use]
    pub fn new(observers: Observers) -> Self {
        Self { shared: Arc::new(Shared { classifier: Http::default(), observers }) }
    }

    /// Tells `observers` about calls of any kind. They have no status, and each has a context of its own that no layer below sees.
    #[must_use]
    pub fn for_any(observers: Observers) -> MetricsLayer<Any> {
        Self::new(observers).classifier(Any)
    }
}

impl<C> MetricsLayer<C> {
    /// Asks `classifier` what an answer means.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> MetricsLayer<D> {
        MetricsLayer { shared: Arc::new(Shared { classifier, observers: self.shared.observers.clone() }) }
    }
}

impl<S, C> Layer<S> for MetricsLayer<C> {
    type Service = Metrics<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics::new(inner, Arc::clone(&self.shared))
    }
}

impl<C> fmt::Debug for MetricsLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer").field("observers", &self.shared.observers).finish_non_exhaustive()
    }
}
