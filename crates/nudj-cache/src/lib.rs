//! Cache levels behind one trait, several of them as one cache, and HTTP caching as a Tower layer.
//!
//! - [`MultiLevelCache`]: L1 in memory, L2 in Redis, L3 in SQL; typed values, single flight, invalidation by key and tag
//! - [`http`]: [`CacheLayer`], RFC 9111 in front of any Tower service
//! - [`CacheLevel`]: the trait, and [`MemoryLevel`]; `RedisLevel`, `SqliteLevel`, `PostgresLevel` by feature
//! - [`Invalidation`] and [`InvalidationChannel`]: what is no longer true, and telling the other processes;
//!   `RedisChannel` (feature `redis`)
//! - [`CacheStats`]: what it did, per level
//! - [`CacheConfig`], [`HttpCacheConfig`]: the numbers and their defaults
//!
//! | feature | brings |
//! |---|---|
//! | `sqlite` (default) | the embedded SQL level |
//! | `postgres`, `postgres-tls` | the PostgreSQL level |
//! | `redis`, `redis-cluster`, `redis-tls` | the Redis level and the invalidation channel |
//!
//! Without a server: memory and SQLite.
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use nudj_cache::{CacheConfig, MultiLevelCache, SetOptions, SqliteConfig, SqliteLevel};
//!
//! let sqlite = SqliteLevel::open(SqliteConfig::default()).await.unwrap();
//! let cache = MultiLevelCache::builder(CacheConfig::default()).l3(sqlite).build().unwrap();
//! cache.set("user:42", String::from("Ada"), &SetOptions::default()).await.unwrap();
//! assert_eq!(*cache.get::<String>("user:42").await.unwrap(), "Ada");
//! # }) }
//! ```

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
