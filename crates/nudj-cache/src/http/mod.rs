//! HTTP caching as a Tower layer.
//!
//! GET and HEAD are answered from a [`MultiLevelCache`](crate::MultiLevelCache) by the rules of RFC 9111 (through
//! http-cache-semantics), RFC 5861 and the configured routes; of calls that miss at once, one goes to the origin.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::{convert::Infallible, time::Duration};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use nudj_cache::{CacheConfig, CacheLayer, HttpCacheConfig, MultiLevelCache, RouteRule};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let mut config = HttpCacheConfig::default();
//! let rule = RouteRule::new("/users/{id}", Duration::from_secs(300)).key("user:{id}").tag("user:{id}");
//! config.routes.push(rule);
//! let cache = MultiLevelCache::builder(CacheConfig::default()).build().unwrap();
//! let origin = service_fn(|_: Request<Full<Bytes>>| async { Ok::<_, Infallible>(Response::new(Full::from("Ada"))) });
//! let service = ServiceBuilder::new()
//!     .layer(CacheLayer::new(cache.clone(), config).unwrap().partition("acme"))
//!     .service(origin);
//!
//! for _ in 0..3 {
//!     let request = Request::get("/users/42").body(Full::default()).unwrap();
//!     service.clone().oneshot(request).await.unwrap();
//! }
//! assert_eq!(cache.stats().loads, 1);
//! # }
//! ```
//!
//! **What is stored** is what a private cache may store: `private` answers yes, `no-store` and `Vary: *` never, a body
//! up to `max_body_bytes` that is complete and has no trailers. A route's `ttl` stands in where an answer says nothing.
//! Answers differ by `Vary`; each variant has its own key. Requests that differ in `x-language`, or in another header of
//! [`selecting_headers`](HttpCacheConfig::selecting_headers), have keys of their own whatever `Vary` says: Nudj answers by
//! that header and does not name it there. A change strikes the answers in all languages.
//!
//! **Whose answer it is.** The key begins with the partition (the identity the credentials below belong to; it does
//! not change when a token is refreshed) and a hash of every credential the request itself carries. Without a
//! partition set, and no such header, all callers of this layer share their answers.
//!
//! **What is served.** Fresh answers, with their Age, which counts from when the origin was asked. Stale ones only
//! within `stale-while-revalidate` (and the origin is asked meanwhile) or `stale-if-error` (the origin failed, or
//! answered 500, 502, 503, 504), and never when the answer says `must-revalidate` or `no-cache`. What the request's own Cache-Control asks for is obeyed; such requests,
//! and those with conditions of their own, neither wait for others nor let others wait. HEAD is answered from what GET
//! stored, else passed. Ranges go past the cache, but not to the origin where it says `only-if-cached`.
//!
//! **Waiting together.** Calls that miss the same key wait for the first. They take its answer if it could be stored,
//! or if the origin failed (an error or 5xx would not be better the fiftieth time; `stale-if-error` holds for each);
//! else each goes itself, and the resource is passed through for a while without waiting. Waiters sleep and are woken
//! once.
//!
//! **Changes.** A POST, PUT, PATCH or DELETE that ended in 2xx or 3xx removes what is stored under its URI, its
//! Location and Content-Location (of the same origin), and its route's tags, in all levels and processes, before its
//! answer is returned. A read that was under way then stores nothing.
//!
//! **Place in the stack.** Outside of idempotency, retry and all below: a hit costs nothing there. Inside of metrics
//! and deadline: a hit is still a call. Further in, every attempt would ask the cache; further out, nobody sees hits.
//!
//! **Readiness.** `poll_ready` is ready at once, without asking the service below, and each call drives a clone of it.
//! So `LoadShed` and `Balance` outside do not see its limits.
//!
//! **On cancel.** A dropped call that others wait for hands its place to the first of them, which asks the origin with
//! its own request. Nothing half-read is stored.
//!
//! **On panic** of the service below the panic passes, and the place is handed on as on cancel.
//!
//! **Errors.** Those of the service below, as they are; shared by several callers as [`SharedError`](crate::SharedError)
//! around them; [`CacheError::ValidatorMismatch`](crate::CacheError::ValidatorMismatch). A level that is down is none.
//!
//! **Cost.** A hit in memory clones the stored headers and takes no future on the heap; everything else boxes one.
//!
//! **Mistakes to avoid.** Making a `CacheLayer` per request or per route without sharing the cache. Placing it below
//! the credentials without a partition: then each token has its own answers, and they are lost with every refresh.

mod ask;
mod body;
mod change;
mod config;
mod directives;
mod exchange;
mod headers;
mod key;
mod layer;
mod origin;
mod policy;
mod route;
mod service;
mod store;
mod stored;

pub use self::{
    body::{CacheBody, Carry, Passed, Streaming, Whole},
    config::HttpCacheConfig,
    layer::CacheLayer,
    route::RouteRule,
    service::{Cache, CacheFuture},
};
