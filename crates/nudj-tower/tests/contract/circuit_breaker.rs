use std::{
    future::{Ready, ready},
    time::Duration,
};

use http::{Request, Response};
use nudj_tower::{
    Availability, Available, BoxError, Rejection, TryCall,
    circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, State},
};
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};

type Answer = Result<Response<()>, BoxError>;

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 2, ..Default::default() }
}

fn layer(config: &CircuitBreakerConfig) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config).expect("a valid configuration").named("a")
}

type Echo = ServiceFn<fn(Request<()>) -> Ready<Answer>>;

/// Answers with the status that the request's path names.
fn echo(layer: &CircuitBreakerLayer) -> CircuitBreaker<Echo> {
    let answer: fn(Request<()>) -> Ready<Answer> = |request| {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        ready(Ok(Response::builder().status(status).body(()).unwrap()))
    };
    layer.layer(service_fn(answer))
}

fn ask(status: u16) -> Request<()> {
    Request::builder().uri(format!("/{status}")).body(()).unwrap()
}

fn refusal(answer: Answer) -> Option<Option<Duration>> {
    match Rejection::find(&*answer.err()?)? {
        Rejection::CircuitOpen { endpoint, retry_after } => {
            assert_eq!(endpoint.as_deref(), Some("a"));
            Some(*retry_after)
        }
        other => panic!("not the breaker's word: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_probe_closes_it() {
    let layer = layer(&config());
    let (mut service, handle) = (echo(&layer), layer.handle());
    for status in [500, 200, 500, 404, 503] {
        assert!(service.ready().await.unwrap().call(ask(status)).await.is_ok());
        assert_eq!(handle.state(), State::Closed);
    }
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    assert_eq!(handle.state(), State::Open);
    let wait = Duration::from_secs(60);
    assert_eq!(refusal(service.ready().await.unwrap().call(ask(200)).await), Some(Some(wait)));
    tokio::time::advance(wait - Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Unavailable { retry_after: Some(Duration::from_millis(1)) });
    let refused = service.ready().await.unwrap().try_call(ask(200)).err().expect("still open");
    assert_eq!(refused.request.uri().path(), "/200", "the request comes back");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Available);
    assert!(service.ready().await.unwrap().call(ask(200)).await.is_ok());
    assert_eq!(handle.state(), State::Closed);
}
