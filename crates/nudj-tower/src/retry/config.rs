use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Exponential, Jitter};

/// How often, when and how much is sent again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Repeats per call at most, failovers included; 0 means never. Default 3.
    pub max_retries: u32,
    /// What the backoff starts from. Default 1 s; 0 repeats without a wait.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// The longest backoff. Default 60 s; not 0 where `base_delay` is not. It does not shorten what a server asks for.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// How the backoff is spread. Default equal.
    pub jitter: Jitter,
    /// The longest Retry-After that is waited for; a longer one ends the call at once. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub max_retry_after: Duration,
    /// For stacks built from this configuration: whether an [`IdempotencyLayer`](https://docs.rs/nudj-tower) outside of retry gives
    /// POST and PATCH a generated `Idempotency-Key`, by which they become repeatable. The layer itself does not read it. Default
    /// false, since only a server that honours the key may be asked twice.
    pub idempotency_keys: bool,
    /// How much load repeats may add.
    pub budget: BudgetConfig,
}

/// How much load repeats may add: in any 10 s at most `ratio` x calls + 10 x `min_per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Repeats per call: 0.2 lets a failing server see 20 % more than the calls. Any finite number from 0. Default 0.2.
    pub ratio: f64,
    /// A reserve for clients that call seldom, in repeats per second; ten seconds' worth is there from the start. Default 10.
    pub min_per_second: u32,
}

impl From<&RetryConfig> for Exponential {
    fn from(config: &RetryConfig) -> Self {
        Self::new(config.base_delay, config.max_delay, config.jitter)
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retries: 3,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            jitter: Jitter::Equal,
            max_retry_after: Duration::from_secs(60),
            idempotency_keys: false,
            budget: BudgetConfig::default(),
        }
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 10 }
    }
}

impl RetryConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // Meant as no limit, it would be no wait at all.
        if self.max_delay.is_zero() && !self.base_delay.is_zero() {
            return Err(ConfigError::new(
                "max_delay",
                "must be more than 0; for repeats without a wait set base_delay to 0 too",
            ));
        }
        self.budget.validate().map_err(|error| error.within("budget"))
    }
}

impl BudgetConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.ratio.is_finite() && self.ratio >= 0.0 {
            return Ok(());
        }
        Err(ConfigError::new("ratio", format!("must be a finite number from 0, is {}", self.ratio)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_documented_table() {
        let text = r#"
            max_retries = 3
            base_delay = "1s"
            max_delay = "60s"
            jitter = "equal"
            max_retry_after = "60s"
            [budget]
            ratio = 0.2
            min_per_second = 10
        "#;
        assert_eq!(toml::from_str::<RetryConfig>(text).unwrap(), RetryConfig::default());
        assert_eq!(toml::from_str::<RetryConfig>("").unwrap(), RetryConfig::default());
        assert!(toml::from_str::<RetryConfig>("max_retry = 3").is_err());
        assert!(toml::from_str::<RetryConfig>("jitter = \"some\"").is_err());
    }

    #[test]
    fn a_longest_backoff_of_nothing_is_named() {
        let of = |base_delay, max_delay| RetryConfig { base_delay, max_delay, ..RetryConfig::default() }.validate();
        let second = Duration::from_secs(1);
        assert_eq!(of(5 * second, Duration::ZERO).unwrap_err().field(), "max_delay");
        assert_eq!([of(5 * second, second), of(Duration::ZERO, Duration::ZERO)], [Ok(()), Ok(())]);
    }

    #[test]
    fn a_bad_ratio_is_named() {
        for ratio in [-0.1, f64::NAN, f64::INFINITY] {
            let config = RetryConfig { budget: BudgetConfig { ratio, min_per_second: 0 }, ..RetryConfig::default() };
            assert_eq!(config.validate().unwrap_err().field(), "budget.ratio");
        }
        for ratio in [0.0, 1e300] {
            let config = RetryConfig { budget: BudgetConfig { ratio, min_per_second: 0 }, ..RetryConfig::default() };
            assert_eq!(config.validate(), Ok(()));
        }
    }
}
