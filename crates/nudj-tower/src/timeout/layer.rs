use std::time::Duration;

use tower_layer::Layer;

use super::{AttemptTimeout, AttemptTimeoutConfig, BodyTimeout};
use crate::ConfigError;

/// Bounds one attempt up to the response's head; see the [module's page](super).
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeoutLayer {
    limit: Duration,
    one_task: bool,
}

/// Bounds one attempt up to the end of the response's body; see [`AttemptTimeoutLayer::with_body`].
#[derive(Clone, Copy, Debug)]
pub struct BodyTimeoutLayer {
    limit: Duration,
    one_task: bool,
}

impl AttemptTimeoutLayer {
    /// Bounds attempts of any service.
    ///
    /// # Errors
    /// When `config` is out of range.
    #[expect(clippy::needless_pass_by_value, reason = "a constructor takes its configuration")]
    pub fn new(config: AttemptTimeoutConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { limit: config.attempt, one_task: false })
    }

    /// Says that whatever is below leaves an attempt in the task that polls it first, and does nothing else once that has ended in an error: a
    /// transport, that is, or layers that only hand on. Then a [`Keeper`](super::Keeper) below may keep the time, without a timer for each
    /// attempt. Above a service that polls an attempt and then spawns it, or repeats it, a call could outlast its time.
    #[must_use]
    pub fn one_task(self) -> Self {
        Self { one_task: true, ..self }
    }

    /// Keeps the time over the response's body as well: what is not there when the time is up ends in an error of the body. A
    /// body that is never waited for costs nothing.
    #[must_use]
    pub fn with_body(self) -> BodyTimeoutLayer {
        BodyTimeoutLayer { limit: self.limit, one_task: self.one_task }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AttemptTimeout::new(inner, self.limit, self.one_task)
    }
}

impl<S> Layer<S> for BodyTimeoutLayer {
    type Service = BodyTimeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BodyTimeout::new(inner, self.limit, self.one_task)
    }
}
