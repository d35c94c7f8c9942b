//! A check of a number that should not grow: a queue, a lag, dead letters.

use nudj_tower::{BoxError, ConfigError};
use serde::{Deserialize, Serialize};

use super::check::{Check, Finding};

/// From where on a number is worth a look, and from where on it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// From this on: degraded.
    pub degraded: u64,
    /// From this on: unhealthy; not below `degraded`.
    pub unhealthy: u64,
}

impl Threshold {
    /// A check of what `read` says, which must not block.
    ///
    /// ```
    /// use nudj_observe::health::{CheckConfig, Health, Threshold};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // For a webhook receiver: `move || handle.snapshot().queue_depth`.
    /// let queue = Threshold { degraded: 1_000, unhealthy: 10_000 }.check("waiting", || 1_200)?;
    /// let health = Health::builder().check("webhook_queue", CheckConfig::default(), queue).build()?;
    /// let report = health.report().await;
    /// assert_eq!(report.checks["webhook_queue"].error.as_deref(), Some("1200 waiting, from 1000 on somebody should look"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ConfigError`] when `unhealthy` is below `degraded`.
    pub fn check(
        self,
        what: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<impl Check, ConfigError> {
        if self.unhealthy < self.degraded {
            return Err(ConfigError::new("unhealthy", "must not be below `degraded`"));
        }
        Ok(move || std::future::ready(self.judge(what, read())))
    }

    fn judge(self, what: &str, count: u64) -> Result<Finding, BoxError> {
        if count >= self.unhealthy {
            return Err(format!("{count} {what}, {} is too much", self.unhealthy).into());
        }
        if count >= self.degraded {
            return Ok(Finding::Degraded(format!("{count} {what}, from {} on somebody should look", self.degraded)));
        }
        Ok(Finding::Healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_belongs_to_the_worse() {
        let limit = Threshold { degraded: 2, unhealthy: 4 };
        assert_eq!(limit.judge("waiting", 1).unwrap(), Finding::Healthy);
        assert!(matches!(limit.judge("waiting", 2).unwrap(), Finding::Degraded(_)));
        assert!(matches!(limit.judge("waiting", 3).unwrap(), Finding::Degraded(_)));
        assert_eq!(limit.judge("waiting", 4).unwrap_err().to_string(), "4 waiting, 4 is too much");
        assert!(Threshold { degraded: 4, unhealthy: 2 }.check("waiting", || 0).is_err());
    }
}
