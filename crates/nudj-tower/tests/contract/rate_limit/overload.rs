//! More calls than the quota lets pass, for long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nudj_tower::{
    circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State},
    deadline::{DeadlineConfig, DeadlineLayer},
};
use tokio::{task::JoinSet, time};
use tower::{ServiceBuilder, ServiceExt};

use super::*;

/// The line grew until each call passed just before its deadline: it was sent, then cut off, and the breaker took that for failures of a
/// server that was well.
#[tokio::test(start_paused = true)]
async fn a_call_that_passes_has_the_time_to_be_answered_and_the_circuit_stays_closed() {
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    let server = service_fn(move |_: Request<()>| {
        let answered = Arc::clone(&counted);
        async move {
            time::sleep(SECOND / 10).await;
            answered.fetch_add(1, Relaxed);
            Ok::<_, BoxError>(Response::new(()))
        }
    });
    let limit = RateLimitLayer::new(&config(100)).unwrap();
    let breaker = CircuitBreakerLayer::new(&CircuitBreakerConfig::default()).unwrap();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(DeadlineConfig { total: 5 * SECOND }).unwrap())
        .layer(&limit)
        .layer(&breaker)
        .service(server);
    let (mut calls, mut arrivals) = (JoinSet::new(), time::interval(SECOND / 150));
    for _ in 0..30 * 150 {
        arrivals.tick().await;
        calls.spawn(service.clone().oneshot(Request::new(())));
    }
    let ends = calls.join_all().await;
    for rejection in ends.iter().filter_map(|end| end.as_ref().err()).map(rejection) {
        assert!(matches!(rejection, Rejection::RateLimited { .. }), "{rejection}");
    }
    let counts = limit.handle().counts();
    assert_eq!(answered.load(Relaxed), counts.granted, "who passed was answered");
    assert!(counts.granted > 30 * 95 && counts.refused > 30 * 25, "the quota is used, the rest is refused: {counts:?}");
    assert_eq!((breaker.handle().state(), breaker.handle().transitions().len()), (State::Closed, 0));
}
