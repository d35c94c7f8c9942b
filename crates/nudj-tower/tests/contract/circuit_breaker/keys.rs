//! A circuit for each key.

use std::sync::{Arc, Mutex};

use nudj_tower::{
    circuit_breaker::{KeyedBreakers, KeyedCircuitBreakerLayer},
    observe::{Event, Observers},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_sick_tenant_opens_no_circuit_but_its_own() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| log.lock().unwrap().push(format!("{event:?}")));
    let circuits = KeyedBreakers::new(&fail_once(), 100, "a", observers).unwrap();
    let layer =
        KeyedCircuitBreakerLayer::new(circuits.clone(), |request: &Request<()>| request.uri().path().to_owned());
    // Panics when it is called without having been polled ready.
    let service = layer.layer(tower::limit::ConcurrencyLimit::new(echo_inner(), 1));
    assert!(service.clone().oneshot(ask(500)).await.is_ok());
    for _ in 0..20 {
        assert!(service.clone().oneshot(ask(200)).await.is_ok());
    }
    assert_eq!(refusal(service.clone().oneshot(ask(500)).await), Some(Some(Duration::from_secs(60))));
    assert_eq!(circuits.find(&"/500".to_owned()).unwrap().state(), State::Open);
    assert_eq!(circuits.find(&"/200".to_owned()).unwrap().state(), State::Closed);
    assert_eq!(*told.lock().unwrap(), ["BreakerRefused { name: \"a\" }"], "names of keys would be series without end");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(service.oneshot(ask(500)).await.is_ok(), "a probe");
}
