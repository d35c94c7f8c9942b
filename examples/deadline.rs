//! A deadline bounds a whole call: the attempts, the waits between them, everything below it.
//!
//! `cargo run --example deadline`

use std::time::{Duration, Instant};

use http::{Request, Response};
use nudj::tower::{
    BoxError, Rejection,
    deadline::{DeadlineConfig, DeadlineLayer},
    retry::{Jitter, RetryConfig, RetryLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "shows the time on the wall")]
async fn main() -> Result<(), BoxError> {
    let deadline = DeadlineLayer::new(DeadlineConfig { total: Duration::from_millis(400) })?;

    let hung = ServiceBuilder::new()
        .layer(deadline.clone())
        .service_fn(|_: Request<()>| std::future::pending::<Result<Response<()>, BoxError>>());
    let start = Instant::now();
    if let Err(error) = hung.oneshot(Request::new(())).await {
        println!("a service that hangs: {:?} after {:?}", Rejection::find(&*error), start.elapsed());
    }

    // Retry reads the deadline from the call's context: it does not begin a wait that would end too late.
    let retry = RetryConfig { base_delay: Duration::from_millis(150), jitter: Jitter::None, ..RetryConfig::default() };
    let failing =
        ServiceBuilder::new().layer(deadline).layer(RetryLayer::new(retry)?).service_fn(|_: Request<()>| async move {
            println!("  an attempt");
            Ok::<_, BoxError>(Response::builder().status(503).body(())?)
        });
    let start = Instant::now();
    let answer = failing.oneshot(Request::new(())).await?;
    println!("a service that fails: {} after {:?}, since the next wait is 300 ms", answer.status(), start.elapsed());
    Ok(())
}
