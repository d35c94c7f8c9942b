//! A service falls sick, is left alone for a while, and is let in again by one probe.
//!
//! `cargo run --example circuit_breaker`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use nudj::tower::{
    BoxError,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    observe::{Event, Observers},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let config = CircuitBreakerConfig {
        failure_threshold: 3,
        open_for: Duration::from_millis(200),
        ..CircuitBreakerConfig::default()
    };
    let observers = Observers::new(|event: &Event<'_>| {
        if let Event::BreakerChanged { name, from, to, .. } = event {
            println!("  the circuit of {name} was {from} and is {to}");
        }
    });
    let layer = CircuitBreakerLayer::new(&config)?.named("payments").observers(observers);

    let sick = Arc::new(AtomicBool::new(true));
    let health = Arc::clone(&sick);
    let service = ServiceBuilder::new().layer(&layer).service_fn(move |_: Request<()>| {
        let status = if health.load(Ordering::Relaxed) { 500 } else { 200 };
        async move { Ok::<_, BoxError>(Response::builder().status(status).body(())?) }
    });
    let call = || service.clone().oneshot(Request::new(()));

    for _ in 0..5 {
        match call().await {
            Ok(answer) => println!("answered {}", answer.status()),
            Err(error) => println!("not sent: {error}"),
        }
    }
    sick.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(250)).await;
    println!("answered {}", call().await?.status());
    Ok(())
}
