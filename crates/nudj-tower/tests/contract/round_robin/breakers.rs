//! Each endpoint behind a real breaker.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nudj_tower::{
    Available,
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    round_robin::{Endpoint, Origin, OriginLayer, RoundRobinLayer},
};
use tokio::{sync::Notify, time::advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, service_fn};

use super::*;

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(&CircuitBreakerConfig { open_for: 60 * SECOND, ..CircuitBreakerConfig::default() })
        .unwrap()
}

fn endpoints() -> [Endpoint; 2] {
    ["http://a", "http://b"].map(|text| Endpoint::at(Origin::parse(text).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn one_open_circuit_does_not_open_the_others_and_a_single_probe_finds_out_when_it_is_well() {
    let (a_is_sick, answer) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
    let transport = service_fn({
        let (a_is_sick, answer) = (Arc::clone(&a_is_sick), Arc::clone(&answer));
        move |request: Request<()>| {
            let (sick, answer) = (a_is_sick.load(SeqCst), Arc::clone(&answer));
            async move {
                let is_a = request.uri().host() == Some("a");
                if is_a && !sick {
                    answer.notified().await;
                }
                let status = if is_a && sick { 500 } else { 200 };
                Ok::<_, BoxError>(Response::builder().status(status).body(if is_a { "a" } else { "b" }).unwrap())
            }
        }
    });
    let breaker = breaker();
    let layers =
        move |endpoint: &Endpoint| (breaker.fresh().named(Arc::clone(endpoint.name())), OriginLayer::of(endpoint));
    let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints(), layers).unwrap();
    let service = layer.layer(transport);
    calls(&service, 10).await;
    assert_eq!(calls(&service, 4).await, "bbbb", "open after five failures");
    assert_eq!(layer.handle().availability(), Availability::Available);
    assert!(matches!(layer.handle().endpoints()[0].availability, Availability::Unavailable { .. }));

    a_is_sick.store(false, SeqCst);
    advance(60 * SECOND).await;
    let mut all: Vec<_> = (0..6).map(|_| task::spawn(service.clone().call(Request::new(())))).collect();
    let mut waiting: Vec<_> = all.iter_mut().filter_map(|call| call.poll().is_pending().then_some(call)).collect();
    assert_eq!(waiting.len(), 1, "one probe, the others go to b at once");
    assert_eq!(layer.handle().endpoints()[0].in_flight, 1);
    answer.notify_one();
    assert_eq!(assert_ready!(waiting[0].poll()).unwrap().into_body(), "a");
    answer.notify_one();
    assert!(calls(&service, 2).await.contains('a'), "closed again");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let transport = service_fn(|request: Request<()>| async move {
        if request.headers().contains_key("hang") {
            std::future::pending::<()>().await;
        }
        Err::<Response<&'static str>, BoxError>("down".into())
    });
    let breaker = breaker();
    let layers = move |endpoint: &Endpoint| (breaker.fresh(), OriginLayer::of(endpoint));
    let [only, _] = endpoints();
    let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), [only], layers).unwrap();
    let service = layer.layer(transport);
    for _ in 0..5 {
        service.clone().oneshot(Request::new(())).await.unwrap_err();
    }
    let all_open = Rejection::CircuitOpen { endpoint: None, retry_after: Some(60 * SECOND) };
    assert_eq!(rejection(&service).await, all_open);
    advance(60 * SECOND).await;
    for _ in 0..3 {
        let mut hang = Request::new(());
        hang.headers_mut().insert("hang", http::HeaderValue::from_static("1"));
        let mut probe = task::spawn(service.clone().call(hang));
        assert_pending!(probe.poll());
        assert!(matches!(rejection(&service).await, Rejection::CircuitOpen { endpoint: None, .. }));
    }
}
