//! Three endpoints in strict turns, each behind a circuit breaker of its own; one of them is sick.
//!
//! `cargo run --example round_robin`

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use nudj::tower::{
    BoxError,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    round_robin::{Endpoint, Origin, OriginLayer, RoundRobinConfig, RoundRobinLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let origins = ["https://a.example", "https://b.example", "https://c.example"].map(Origin::parse);
    let endpoints = origins.into_iter().map(|origin| origin.map(Endpoint::at)).collect::<Result<Vec<_>, _>>()?;
    let breaker = CircuitBreakerLayer::new(&CircuitBreakerConfig { failure_threshold: 2, ..Default::default() })?;
    // Made once per endpoint. `fresh`, or all would share one circuit.
    let layers =
        move |endpoint: &Endpoint| (breaker.fresh().named(Arc::clone(endpoint.name())), OriginLayer::of(endpoint));
    let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints, layers)?;
    let handle = layer.handle();

    let service = ServiceBuilder::new().layer(layer).service_fn(|request: Request<()>| async move {
        let sick = request.uri().host() == Some("b.example");
        let status = if sick { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        println!("{} answered {status}", request.uri());
        Ok::<_, BoxError>(Response::builder().status(status).body(())?)
    });
    for number in 1..=10 {
        let request = Request::get(format!("/users/{number}")).body(())?;
        service.clone().oneshot(request).await?;
    }
    for endpoint in handle.endpoints() {
        println!("{}: {} calls, {:?}", endpoint.name, endpoint.calls, endpoint.availability);
    }
    Ok(())
}
