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
mod stats;

pub use self::{
    clock::WallClock,
    entry::{Entry, Kind},
    error::{BoxError, CacheError, SharedError},
    http::{Cache, CacheBody, CacheFuture, CacheLayer, HttpCacheConfig, RouteRule},
    invalidation::{Invalidation, InvalidationChannel},
    level::{AsOf, CacheLevel, Found, LevelConfig, LevelError, MemoryConfig, MemoryLevel, Usage, Write},
    multi::{CacheConfig, MultiLevelCache, MultiLevelCacheBuilder, SetOptions, WeakCache},
    stats::{CacheStats, LevelStats},
};
