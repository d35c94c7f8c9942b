//! Several levels as one cache.
//!
//! A read asks L1, L2, L3 in turn and stores what it finds in the levels above, for no longer than the level it was
//! found in would keep it. A write goes to all. A level that fails or hangs is a miss; a cache with every level down
//! is an empty one, never an error.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use nudj_cache::{CacheConfig, Invalidation, MultiLevelCache, SetOptions};
//!
//! let cache = MultiLevelCache::builder(CacheConfig::default()).build().unwrap();
//! let options = SetOptions::default().tag("user:42");
//! let load = || async { Ok::<_, std::io::Error>(String::from("Ada")) };
//! let name = cache.get_or_load("user:42", &options, load).await.unwrap();
//! assert_eq!(*name, "Ada");
//! assert_eq!(cache.get::<String>("user:42").await.as_deref(), Some(&*name));
//!
//! cache.invalidate(&Invalidation::user(42)).await;
//! assert_eq!(cache.get::<String>("user:42").await, None);
//! # }
//! ```
//!
//! **TTLs.** Each level has its own (300 s, 3600 s, 86400 s), shortened at random by up to a tenth; a value with a TTL
//! of its own ([`SetOptions::ttl`]) is kept nowhere longer than that.
//!
//! **Deletes win.** What was read from the origin, or from a level below, before a delete is not stored after it, in
//! this process or in the shared levels. Redis and SQL remember deletes for a minute for that. A level that is down gets
//! the deletes it missed when it is back; when they are more than 16 384 names, this process does not read it until its
//! TTL and a minute have passed.
//!
//! **On cancel.** Dropping a read or write stops it; a delete that was begun is finished by the next operation. A
//! `get_or_load` that is dropped while it loads hands the load to one that waits.
//!
//! **Mistakes to avoid.** `set` after changing the origin races with readers that still load the old value; invalidate
//! and let the next reader load.

mod cache;
mod config;
mod invalidate;
mod read;
mod typed;

pub use self::{
    cache::{ChannelNews, MultiLevelCache, MultiLevelCacheBuilder, WeakCache},
    config::CacheConfig,
    typed::SetOptions,
};
pub(crate) use self::{read::Format, typed::normal_tags};
