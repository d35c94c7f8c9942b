//! The level in Redis, and invalidation across processes by its pub/sub.
//!
//! ```text
//! <prefix>e:<key>   the entry                          TTL: its own
//! <prefix>t:<tag>   set of the keys that have the tag  TTL: the longest an entry may have
//! <prefix>x:<key>   the key was deleted lately         TTL: a minute
//! <prefix>y:<tag>   the tag was deleted lately         TTL: a minute
//! ```
//! What was read from the origin before a delete that is still remembered is refused. On one server a write is one
//! script, so nobody sees a state in between. In a cluster the keys lie on different nodes: a write checks before and
//! after, and takes itself back.
//!
//! **Eviction.** A tag is deleted by the set of its keys, and a late write is refused by the memory of a delete: a server that
//! evicts them by its own choice breaks both. With `allkeys-lru` or `allkeys-lfu` a set that is seldom used goes while its
//! entries stay, and these are served after their tag was deleted, until their TTL. Set `maxmemory-policy noeviction`:
//! what does not fit is then not stored, and read from the level below. `volatile-ttl` keeps the sets longest, but gives up
//! the memory of deletes first, so that a write that was under way during a delete may bring the old value back.
//!
//! **Large tags.** A delete of a tag removes its entries in portions and takes as long as there are; one that does not get
//! done within the level's timeout goes on with the next operation. On one server members whose entries have expired are
//! removed as new ones come; in a cluster they stay until the tag is deleted or not written for `max_ttl`.

mod channel;
mod commands;
mod connection;
mod level;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    channel::{RedisChannel, Subscription},
    level::RedisLevel,
};
use crate::error::CacheError;

/// Names and limits in Redis. The addresses are given apart, since they may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Begins every key. Default `nudj:`.
    pub prefix: String,
    /// The pub/sub channel for invalidations; the same in all processes that share the cache. Default
    /// `nudj:invalidate`.
    pub channel: String,
    /// Longest time an entry is kept, whatever is asked for. Default 24 h.
    #[serde(with = "humantime_serde")]
    pub max_ttl: Duration,
    /// Longest time to connect, in the background. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: "nudj:".into(),
            channel: "nudj:invalidate".into(),
            max_ttl: Duration::from_secs(86_400),
            connect_timeout: Duration::from_secs(1),
        }
    }
}

impl RedisConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`CacheError::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), CacheError> {
        if self.channel.is_empty() {
            return Err(CacheError::config("redis.channel", "must not be empty"));
        }
        if self.max_ttl < Duration::from_secs(1) || self.max_ttl > Duration::from_secs(365 * 86_400) {
            return Err(CacheError::config("redis.max_ttl", "must be between 1 s and 365 days"));
        }
        if self.connect_timeout.is_zero() {
            return Err(CacheError::config("redis.connect_timeout", "must be above 0"));
        }
        Ok(())
    }
}
