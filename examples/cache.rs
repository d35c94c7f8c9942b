//! Fifty calls at once for one thing, one call to the origin; a change makes the cache forget it.
//!
//! `cargo run --example cache`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use nudj::{
    cache::{CacheConfig, CacheLayer, HttpCacheConfig, MultiLevelCache, RouteRule},
    tower::BoxError,
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = RouteRule::new("/users/{id}", Duration::from_secs(300)).key("user:{id}").tag("user:{id}");
    let config = HttpCacheConfig { routes: vec![users], ..HttpCacheConfig::default() };
    let cache = MultiLevelCache::builder(CacheConfig::default()).build()?;

    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let layer = CacheLayer::new(cache.clone(), config)?.partition("acme");
    let service = ServiceBuilder::new().layer(layer).service_fn(move |request: Request<Full<Bytes>>| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        println!("  the origin is asked: {} {}", request.method(), request.uri());
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(format!("answer {number}")))))
        }
    });
    let get = || async {
        let request = Request::get("/users/42").body(Full::default())?;
        service.clone().oneshot(request).await
    };

    println!("fifty calls at once");
    let answers = join_all((0..50).map(|_| get())).await;
    println!("  {} answers, {} call to the origin", answers.iter().flatten().count(), calls.load(Ordering::Relaxed));
    println!("one more: {:?}", get().await?.body());
    println!("a change");
    service.clone().oneshot(Request::put("/users/42").body(Full::default())?).await?;
    println!("and one more");
    println!("  {:?}", get().await?.body());
    println!("{:?}", cache.stats());
    Ok(())
}
