//! The circuit breaker.

mod abandoned;
mod configuration;
mod keys;
mod observers;
mod outcomes;
mod probes;
mod stack;
mod states;

use std::{
    future::{Ready, pending, ready},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use nudj_tower::{
    Availability, Available, BoxError, LimitedBy, Rejection,
    circuit_breaker::{BreakerHandle, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, State},
    classify::Any,
};
use tokio::sync::oneshot;
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};

const MILLISECOND: Duration = Duration::from_millis(1);

type Answer = Result<Response<()>, BoxError>;

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 2, ..Default::default() }
}

fn layer(config: &CircuitBreakerConfig) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config).expect("a valid configuration").named("a")
}

type Echo = ServiceFn<fn(Request<()>) -> Ready<Answer>>;

fn echo(layer: &CircuitBreakerLayer) -> CircuitBreaker<Echo> {
    layer.layer(echo_inner())
}

/// Answers with the status that the request's path names.
fn echo_inner() -> Echo {
    let answer: fn(Request<()>) -> Ready<Answer> = |request| {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        ready(Ok(Response::builder().status(status).body(()).unwrap()))
    };
    service_fn(answer)
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

/// Hangs until the test answers; counts nothing, panics on request.
type Scripted = CircuitBreaker<ServiceFn<fn(Script) -> BoxFuture<'static, Result<u32, BoxError>>>, Any>;

enum Script {
    Answer(oneshot::Receiver<Result<u32, BoxError>>),
    Hang,
    PanicInCall,
    PanicInPoll,
}

fn scripted(layer: &CircuitBreakerLayer) -> Scripted {
    let answer: fn(Script) -> BoxFuture<'static, Result<u32, BoxError>> = |script| match script {
        Script::Answer(answer) => Box::pin(async move { answer.await? }),
        Script::Hang => Box::pin(pending()),
        Script::PanicInCall => panic!("in call"),
        Script::PanicInPoll => Box::pin(async { panic!("in poll") }),
    };
    layer.clone().for_any().layer(service_fn(answer))
}

fn fail_once() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 1, ..Default::default() }
}

/// A half-open circuit whose probe is the next call.
async fn probing(config: &CircuitBreakerConfig) -> (Scripted, BreakerHandle) {
    let layer = layer(config);
    let (mut service, handle) = (scripted(&layer), layer.handle());
    let (answer, asked) = oneshot::channel();
    answer.send(Err("sick".into())).unwrap();
    assert!(service.ready().await.unwrap().call(Script::Answer(asked)).await.is_err());
    tokio::time::advance(config.open_for).await;
    (service, handle)
}
