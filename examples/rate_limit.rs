//! Never more than three calls in any window of 200 ms: the others wait in line, and those that would wait too long are told.
//!
//! `cargo run --example rate_limit`

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Request, Response};
use nudj::tower::{
    BoxError, Rejection,
    rate_limit::{RateLimitConfig, RateLimitLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "shows the time on the wall")]
async fn main() -> Result<(), BoxError> {
    let config = RateLimitConfig {
        max_requests: 3,
        window: Duration::from_millis(200),
        max_wait: Duration::from_millis(500),
        ..RateLimitConfig::default()
    };
    let layer = RateLimitLayer::new(&config)?;
    let service =
        ServiceBuilder::new().layer(&layer).service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });

    let start = Instant::now();
    let calls = (1..=12).map(|number| {
        let call = service.clone().oneshot(Request::new(()));
        async move {
            match call.await {
                Ok(_) => println!("call {number:2} passed after {:3} ms", start.elapsed().as_millis()),
                Err(error) => {
                    let hint = Rejection::find(&*error).and_then(Rejection::retry_after);
                    println!("call {number:2} was refused at once: come again in {hint:?}");
                }
            }
        }
    });
    join_all(calls).await;
    println!("{:?}", layer.handle().counts());
    Ok(())
}
