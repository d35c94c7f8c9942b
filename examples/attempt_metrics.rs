//! What is seen of a call: one event for the call as its caller sees it, a header and a span for each attempt below.
//!
//! `cargo run --example attempt_metrics`, with `RUST_LOG=info` for the log lines.

use std::time::Duration;

use http::{Request, Response};
use nudj::tower::{
    BoxError, CallContext, Route,
    attempt::{AttemptLayer, RETRY_ATTEMPT},
    correlation::CorrelationLayer,
    metrics::MetricsLayer,
    observe::{Event, Observers},
    retry::{RetryConfig, RetryLayer},
};
use tower::{ServiceBuilder, ServiceExt};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let observers = Observers::new(|event: &Event<'_>| {
        if let Event::CallEnded { context, status, error, duration, .. } = event {
            let operation = context.route().map(|route| route.operation);
            println!(
                "{operation:?} ended: status {status:?}, error {error:?}, {} repeats, {duration:?}",
                context.resends()
            );
        }
    });
    let config = RetryConfig { base_delay: Duration::from_millis(50), max_retries: 2, ..RetryConfig::default() };
    let service = ServiceBuilder::new()
        .layer(CorrelationLayer::new())
        .layer(MetricsLayer::new(observers))
        .layer(RetryLayer::new(config)?)
        .layer(AttemptLayer::new())
        .service_fn(|request: Request<()>| async move {
            let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
            println!("  attempt {}: {}", header(RETRY_ATTEMPT.as_str()), header("traceparent"));
            Ok::<_, BoxError>(Response::builder().status(503).body(())?)
        });

    let mut request = Request::get("/users/4711").body(())?;
    // The template names the series; the path, which names a person, stands in no metric and no log line.
    CallContext::get_or_insert(request.extensions_mut())
        .set_route(Route { operation: "users.get", template: "/users/{id}" });
    service.oneshot(request).await?;
    Ok(())
}
