//! Cache levels behind one trait, and an HTTP caching Tower layer
mod clock;
mod entry;
mod envelope;
mod error;
mod flight;
pub mod http;
mod invalidation;
mod key;
mod level;
mod multi;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod stats;

#[cfg(feature = "redis")]
pub use self::redis::{RedisChannel, RedisConfig, RedisLevel, Subscription};
#[cfg(feature = "postgres")]
pub use self::sql::{PostgresConfig, PostgresLevel};
#[cfg(feature = "sqlite")]
pub use self::sql::{SqliteConfig, SqliteLevel};
pub use self::{
    clock::WallClock,
    entry::{Entry, Kind},
    error::{BoxError, CacheError, SharedError},
    http::{Cache, CacheBody, CacheFuture, CacheLayer, HttpCacheConfig, RouteRule},
    invalidation::{Invalidation, InvalidationChannel},
    level::{AsOf, CacheLevel, Found, LevelConfig, LevelError, MemoryConfig, MemoryLevel, Usage, Write},
    multi::{CacheConfig, ChannelNews, MultiLevelCache, MultiLevelCacheBuilder, SetOptions, WeakCache},
    stats::{CacheStats, LevelStats},
};
