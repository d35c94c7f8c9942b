//! A server does the work and loses the answer; the repeat carries the same key, so the work is not done twice.
//!
//! `cargo run --example idempotency`

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use nudj::tower::{
    BoxError,
    classify::TransportError,
    idempotency::{IDEMPOTENCY_KEY, IdempotencyLayer},
    retry::{RetryConfig, RetryLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let done: Arc<Mutex<HashSet<HeaderValue>>> = Arc::default();
    let server = Arc::clone(&done);
    let config = RetryConfig { base_delay: Duration::from_millis(50), ..RetryConfig::default() };
    let service = ServiceBuilder::new()
        // Above retry: one key for the call, not one for each attempt.
        .layer(IdempotencyLayer::on())
        .layer(RetryLayer::new(config)?)
        .service_fn(move |request: Request<&'static str>| {
            let key = request.headers().get(IDEMPOTENCY_KEY).cloned();
            let new = key.clone().is_some_and(|key| server.lock().unwrap_or_else(PoisonError::into_inner).insert(key));
            println!("the server gets {:?} with key {key:?}: {}", request.body(), if new { "done" } else { "known" });
            async move {
                // The first answer is lost on its way.
                if new {
                    Err(BoxError::from(TransportError::Exchange("connection reset".into())))
                } else {
                    Ok(Response::new(()))
                }
            }
        });
    let answer = service.oneshot(Request::post("/rewards/7/claim").body("claim")?).await?;
    println!("{}; done {} time", answer.status(), done.lock().unwrap_or_else(PoisonError::into_inner).len());
    Ok(())
}
