//! A service that fails now and then, asked again with growing waits, within a budget.
//!
//! `cargo run --example retry`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{Method, Request, Response};
use nudj::tower::{
    BoxError,
    observe::{Event, Observers},
    retry::{RetryConfig, RetryLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let config = RetryConfig { base_delay: Duration::from_millis(100), ..RetryConfig::default() };
    let layer = RetryLayer::new(config)?.observers(Observers::new(|event: &Event<'_>| {
        if let Event::Retried { number, delay, .. } = event {
            println!("  repeat {number} in {delay:?}");
        }
    }));

    let attempts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&attempts);
    let service = ServiceBuilder::new().layer(&layer).service_fn(move |_: Request<()>| {
        let attempt = count.fetch_add(1, Ordering::Relaxed) % 3;
        async move { Ok::<_, BoxError>(Response::builder().status(if attempt < 2 { 500 } else { 200 }).body(())?) }
    });

    for method in [Method::GET, Method::POST] {
        let before = attempts.load(Ordering::Relaxed);
        println!("{method}");
        let request = Request::builder().method(&method).body(())?;
        let answer = service.clone().oneshot(request).await?;
        println!("  {}, attempts: {}", answer.status(), attempts.load(Ordering::Relaxed) - before);
    }
    println!("A POST that failed with a 500 may have taken effect, so it is not sent again.");
    Ok(())
}
