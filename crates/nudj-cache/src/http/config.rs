//! The HTTP layer's numbers.

use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::route::RouteRule;
use crate::error::CacheError;

/// Configuration of a [`CacheLayer`](super::CacheLayer).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpCacheConfig {
    /// Largest body that is stored, in bytes. A larger one is passed through. Default 1 MiB.
    pub max_body_bytes: usize,
    /// How long a stale 2xx answer may be served while it is revalidated, where the answer does not say
    /// (`stale-while-revalidate`). Default 0: only where it says so.
    #[serde(with = "humantime_serde")]
    pub stale_while_revalidate: Duration,
    /// How long a stale 2xx answer may be served when the origin fails, where the answer does not say
    /// (`stale-if-error`). Default 0: only where it says so. `must-revalidate` and `no-cache` rule it out.
    #[serde(with = "humantime_serde")]
    pub stale_if_error: Duration,
    /// Lifetime of a 404 or 410 that says nothing about caching. Default 0: not cached, since what a client asks for in
    /// vain it often creates next. The two windows above do not stretch it.
    #[serde(with = "humantime_serde")]
    pub negative_ttl: Duration,
    /// How long a stale answer with an ETag or Last-Modified is kept, to be confirmed by a 304. Default 1 h.
    #[serde(with = "humantime_serde")]
    pub keep_for_revalidation: Duration,
    /// Revalidations in the background at once; one more than that is left out. Default 64.
    pub max_revalidations: usize,
    /// Longest time of a revalidation in the background. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub revalidation_timeout: Duration,
    /// How long a resource that turned out not to be cacheable is passed through without asking the levels or waiting
    /// for others. Default 60 s.
    #[serde(with = "humantime_serde")]
    pub remember_uncacheable: Duration,
    /// Request headers that select one of a resource's answers even where no `Vary` names them: answers to requests that
    /// differ in one of them are kept apart. `x-language` always is one; these are further ones. Default none.
    pub selecting_headers: Vec<String>,
    /// Rules for routes; the first whose path fits counts. Default none.
    pub routes: Vec<RouteRule>,
}

impl Default for HttpCacheConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            keep_for_revalidation: Duration::from_secs(3600),
            max_revalidations: 64,
            revalidation_timeout: Duration::from_secs(30),
            remember_uncacheable: Duration::from_secs(60),
            selecting_headers: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl HttpCacheConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`CacheError::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<(), CacheError> {
        if self.revalidation_timeout.is_zero() {
            return Err(CacheError::config("revalidation_timeout", "must be above 0"));
        }
        if self.max_revalidations > tokio::sync::Semaphore::MAX_PERMITS {
            return Err(CacheError::config("max_revalidations", "is too large"));
        }
        if let Some(name) = self.selecting_headers.iter().find(|name| HeaderName::try_from(*name).is_err()) {
            return Err(CacheError::config("selecting_headers", format!("{name:?} is not the name of a header")));
        }
        self.routes.iter().try_for_each(RouteRule::validate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_and_round_trip() {
        let config = HttpCacheConfig::default();
        config.validate().unwrap();
        assert_eq!(toml::from_str::<HttpCacheConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(toml::from_str::<HttpCacheConfig>("max_bdy = 1").is_err());
    }

    #[test]
    fn header_that_is_none_is_refused_by_name() {
        let config: HttpCacheConfig = toml::from_str("selecting_headers = ['x-region', 'a b']").unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("selecting_headers") && error.contains("a b"), "{error}");
    }

    #[test]
    fn routes_are_read_and_checked() {
        let text = r#"
            negative_ttl = "5s"
            [[routes]]
            path = "/users/{id}"
            ttl = "300s"
            key = "user:{id}"
            tags = ["user:{id}"]
        "#;
        let config: HttpCacheConfig = toml::from_str(text).unwrap();
        config.validate().unwrap();
        assert_eq!(config.routes[0].ttl, Duration::from_secs(300));
        assert!(
            toml::from_str::<HttpCacheConfig>(&text.replace("{id}\"\n            ttl", "{no}\"\n            ttl"))
                .unwrap()
                .validate()
                .is_err()
        );
    }
}
