use std::time::Duration;

use tower_layer::Layer;

use super::{Deadline, DeadlineConfig, service::Promises};
use crate::{
    ConfigError,
    classify::{Any, Http},
};

/// Bounds whole calls; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct DeadlineLayer<C = Http> {
    total: Duration,
    classifier: C,
    promises: Promises,
}

impl DeadlineLayer {
    /// Bounds HTTP calls and writes the deadline into their context, which it makes when there is none.
    ///
    /// # Errors
    /// When `config` is out of range.
    #[expect(clippy::needless_pass_by_value, reason = "a constructor takes its configuration")]
    pub fn new(config: DeadlineConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { total: config.total, classifier: Http::default(), promises: Promises::default() })
    }

    /// Bounds calls of any kind. No context is read or written.
    ///
    /// # Errors
    /// When `config` is out of range.
    pub fn for_any(config: DeadlineConfig) -> Result<DeadlineLayer<Any>, ConfigError> {
        Ok(Self::new(config)?.classifier(Any))
    }
}

impl<C> DeadlineLayer<C> {
    /// Finds and makes contexts by `classifier`; nothing else is asked of it.
    #[must_use]
    pub fn classifier<D>(self, classifier: D) -> DeadlineLayer<D> {
        DeadlineLayer { total: self.total, classifier, promises: self.promises }
    }

    /// Promises that a layer below notes every try in the context, as [`round_robin`](crate::round_robin) does. A call that is
    /// cut before its first try is then reported as not sent.
    #[must_use]
    pub fn tries_counted(mut self) -> Self {
        self.promises.tries_counted = true;
        self
    }

    /// Promises that the layers below poll a call where it was polled first, and do not hand it to another task later. While the timer
    /// of an attempt's [`timeout`](crate::timeout) wakes the call in time, the deadline then sets none: one timer less a call, which
    /// is a hundredth of a call's price on the wire.
    #[must_use]
    pub fn one_task(mut self) -> Self {
        self.promises.one_task = true;
        self
    }
}

impl<S, C: Clone> Layer<S> for DeadlineLayer<C> {
    type Service = Deadline<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline::new(inner, self.total, self.classifier.clone(), self.promises)
    }
}
