//! Cache levels behind one trait, and an HTTP caching Tower layer
mod clock;
mod entry;
mod envelope;
mod error;
mod level;
mod stats;

pub use self::{
    clock::WallClock,
    entry::{Entry, Kind},
    error::{BoxError, CacheError, SharedError},
    level::{AsOf, CacheLevel, Found, LevelError, MemoryConfig, MemoryLevel, Usage, Write},
    stats::{CacheStats, LevelStats},
};
