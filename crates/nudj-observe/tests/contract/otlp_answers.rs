//! What a collector sees while things change, and what it answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use nudj_mock::MockNudj;
use nudj_observe::otlp::{Otlp, OtlpConfig};

use crate::{
    client,
    otlp::{Collector, points},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_during_changes_has_one_state_of_a_breaker() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let interval = Duration::from_millis(1);
    let otlp = Otlp::start(OtlpConfig { interval, ..collector.start().await }).unwrap();
    let client = client(&mock, otlp.observer().clone());
    otlp.observer().watch(client.handles());
    let breaker = client.handles().breakers().remove(0);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let changes = tokio::task::spawn_blocking(move || {
        while !stopped.load(Relaxed) {
            breaker.force_open();
            breaker.reset();
        }
    });
    let mut seen = Vec::new();
    for _ in 0..200 {
        collector.arrived.notified().await;
        let metrics = collector.metrics();
        let states = points(&metrics["nudj_circuit_breaker_state"]);
        seen.push(states.iter().map(|(_, value)| value).sum::<f64>());
    }
    stop.store(true, Relaxed);
    changes.await.unwrap();
    assert!(seen.iter().all(|states| *states == 1.0), "{seen:?}");
}
