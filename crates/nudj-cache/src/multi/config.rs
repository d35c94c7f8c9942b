//! The numbers of the whole cache.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::CacheError,
    level::{LevelConfig, MemoryConfig},
};

/// Configuration of a [`MultiLevelCache`](super::MultiLevelCache). The defaults are the seed's numbers.
///
/// ```
/// use std::time::Duration;
/// let config: nudj_cache::CacheConfig = toml::from_str(r#"
///     jitter = 0.2
///     [memory]
///     max_bytes = 1048576
///     [l2]
///     timeout = "20ms"
/// "#).unwrap();
/// config.validate().unwrap();
/// assert_eq!(config.l2.ttl, Duration::from_secs(3600));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// L1, this process's memory.
    pub memory: MemoryConfig,
    /// L2, shared by processes. Used when the builder is given a level for it.
    pub l2: LevelConfig,
    /// L3, the database. Used when the builder is given a level for it.
    #[serde(default = "l3", deserialize_with = "l3_with_its_own_default")]
    pub l3: LevelConfig,
    /// Largest share by which a TTL is shortened at random, 0 to 0.9, so that what was stored together does not expire
    /// together. A TTL is never lengthened. Default 0.1.
    pub jitter: f64,
    /// Version of the values' format. Raise it when a stored type changes: old entries become misses. Default 1.
    pub schema_version: u32,
    /// Longest time L1 keeps an entry stored while the invalidation channel is lost. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub isolated_ttl: Duration,
    /// What else goes when a tag `name:id` is invalidated: the keys `name:part:id` for each part listed under `name`.
    /// Default: `user` with `profile`, `challenges`, `rewards` (the seed's list).
    pub families: BTreeMap<String, Vec<String>>,
}

fn l3() -> LevelConfig {
    LevelConfig { ttl: Duration::from_secs(86_400), ..LevelConfig::default() }
}

/// `[l3]` with only a timeout keeps L3's own TTL.
fn l3_with_its_own_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<LevelConfig, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        #[serde(default, with = "humantime_serde")]
        ttl: Option<Duration>,
        #[serde(default, with = "humantime_serde")]
        timeout: Option<Duration>,
        failure_threshold: Option<u32>,
        #[serde(default, with = "humantime_serde")]
        open_for: Option<Duration>,
    }
    let given = Given::deserialize(deserializer)?;
    let default = l3();
    Ok(LevelConfig {
        ttl: given.ttl.unwrap_or(default.ttl),
        timeout: given.timeout.unwrap_or(default.timeout),
        failure_threshold: given.failure_threshold.unwrap_or(default.failure_threshold),
        open_for: given.open_for.unwrap_or(default.open_for),
    })
}

impl Default for CacheConfig {
    fn default() -> Self {
        let user = ["profile", "challenges", "rewards"].map(String::from).to_vec();
        Self {
            memory: MemoryConfig::default(),
            l2: LevelConfig::default(),
            l3: l3(),
            jitter: 0.1,
            schema_version: 1,
            isolated_ttl: Duration::from_secs(30),
            families: BTreeMap::from([("user".into(), user)]),
        }
    }
}

impl CacheConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`CacheError::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), CacheError> {
        self.memory.validate()?;
        self.l2.validate(["l2.ttl", "l2.timeout", "l2.failure_threshold", "l2.open_for"])?;
        self.l3.validate(["l3.ttl", "l3.timeout", "l3.failure_threshold", "l3.open_for"])?;
        if !(0.0..=0.9).contains(&self.jitter) {
            return Err(CacheError::config("jitter", "must be between 0 and 0.9"));
        }
        if self.isolated_ttl.is_zero() {
            return Err(CacheError::config("isolated_ttl", "must be above 0"));
        }
        Ok(())
    }
}

/// `ttl` shortened by up to `jitter` of it; `draw` is from 0 to 1. Never above `ttl`.
pub(crate) fn jittered(ttl: Duration, jitter: f64, draw: f64) -> Duration {
    let factor = (1.0 - jitter * draw).clamp(0.0, 1.0);
    Duration::try_from_secs_f64(ttl.as_secs_f64() * factor).map_or(ttl, |shorter| shorter.min(ttl))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn defaults_are_the_seeds_and_hold() {
        let config = CacheConfig::default();
        config.validate().unwrap();
        let seconds = [config.memory.ttl, config.l2.ttl, config.l3.ttl].map(|ttl| ttl.as_secs());
        assert_eq!(seconds, [300, 3600, 86_400]);
        assert_eq!(config.l2.timeout, Duration::from_millis(50));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<CacheConfig>(&text).unwrap(), config);
        assert_eq!(toml::from_str::<CacheConfig>("").unwrap(), config);
    }

    #[test]
    fn part_of_a_table_keeps_the_other_defaults() {
        let config: CacheConfig = toml::from_str("[l3]\ntimeout = \"1s\"").unwrap();
        assert_eq!((config.l3.ttl.as_secs(), config.l3.timeout.as_secs()), (86_400, 1));
        assert!(toml::from_str::<CacheConfig>("[l3]\ntimeuot = \"1s\"").is_err());
        assert!(toml::from_str::<CacheConfig>("jiter = 1.0").is_err());
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        for (text, field) in [
            ("jitter = 1.0", "jitter"),
            ("jitter = nan", "jitter"),
            ("isolated_ttl = \"0s\"", "isolated_ttl"),
            ("[memory]\nmax_bytes = 1", "memory.max_bytes"),
            ("[memory]\nttl = \"0s\"", "memory.ttl"),
            ("[l2]\nttl = \"0s\"", "l2.ttl"),
            ("[l3]\ntimeout = \"0s\"", "l3.timeout"),
            ("[l2]\nfailure_threshold = 0", "l2.failure_threshold"),
            ("[l3]\nopen_for = \"0s\"", "l3.open_for"),
        ] {
            let error = toml::from_str::<CacheConfig>(text).unwrap().validate().unwrap_err();
            assert!(matches!(&error, CacheError::Config { field: named, .. } if *named == field), "{error}");
        }
    }

    proptest! {
        #[test]
        fn jitter_shortens_by_its_share_at_most(millis in 1u64..100_000_000, jitter in 0.0..0.9f64, draw in 0.0..1.0f64) {
            let ttl = Duration::from_millis(millis);
            let short = jittered(ttl, jitter, draw);
            prop_assert!(short <= ttl);
            prop_assert!(short.as_secs_f64() >= ttl.as_secs_f64() * (1.0 - jitter) - 1e-6);
        }
    }

    #[test]
    fn longest_ttl_can_be_jittered() {
        assert!(jittered(Duration::MAX, 0.1, 0.0) <= Duration::MAX);
    }
}
