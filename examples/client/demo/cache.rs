//! What the demo caches: the catalogue of rewards, which many read and few change.

use std::time::Duration;

use nudj::{
    cache::{CacheConfig, CacheLayer, HttpCacheConfig, MultiLevelCache, RouteRule},
    client::Error,
};

pub(super) fn in_memory() -> Result<MultiLevelCache, Error> {
    MultiLevelCache::builder(CacheConfig::default()).build().map_err(|error| Error::usage("cache", error.to_string()))
}

/// Nudj documents no cache headers, so the route says how long an answer is good for.
pub(super) fn layer(cache: &MultiLevelCache) -> Result<CacheLayer, Error> {
    let rewards = RouteRule::new("/api/v2/integration/rewards", Duration::from_secs(300)).tag("rewards");
    let config = HttpCacheConfig { routes: vec![rewards], ..HttpCacheConfig::default() };
    let layer = CacheLayer::new(cache.clone(), config).map_err(|error| Error::usage("cache", error.to_string()))?;
    Ok(layer.partition("demo"))
}
