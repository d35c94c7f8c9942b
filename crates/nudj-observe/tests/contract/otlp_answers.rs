//! What a collector sees while things change, and what it answers.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use nudj_mock::MockNudj;
use nudj_observe::otlp::{Otlp, OtlpConfig};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    client,
    otlp::{Collector, observe_spans, points},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_during_changes_has_one_state_of_a_breaker() {
    let (collector, mock) = (Collector::default(), MockNudj::start().await.unwrap());
    let interval = Duration::from_millis(1);
    let otlp = Otlp::start(OtlpConfig { interval, ..collector.start().await }).unwrap();
    let client = client(&mock, otlp.observer().clone());
    otlp.observer().watch(client.handles());
    let breaker = client.handles().breakers().remove(0);
    // Goes with the test, however that ends.
    let stop = Arc::new(());
    let stopped = Arc::downgrade(&stop);
    let changes = tokio::task::spawn_blocking(move || {
        while stopped.strong_count() > 0 {
            breaker.force_open();
            breaker.reset();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 200 {
        collector.arrived.notified().await;
        // The first may have left before the client was watched.
        if let Some(metric) = collector.metrics().get("nudj_circuit_breaker_state") {
            seen.push(points(metric).iter().map(|(_, value)| value).sum::<f64>());
        }
    }
    drop(stop);
    changes.await.unwrap();
    assert!(seen.iter().all(|states| *states == 1.0), "{seen:?}");
}

#[tokio::test]
async fn spans_that_a_collector_rejects_of_what_it_takes_are_lost() {
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let answer = async move |request: Request| {
        let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".into() };
        if request.uri().path() == "/v1/traces" {
            told.notify_one();
        }
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    let otlp = Otlp::start(OtlpConfig { endpoint, queue: 4, ..OtlpConfig::default() }).unwrap();
    // One batch after the other: when the next has come, the answer to the one before was read.
    for lost in 0..3 {
        observe_spans(&otlp, 2);
        arrived.notified().await;
        assert!((lost..=lost + 1).contains(&otlp.lost_spans()), "{} of {lost}", otlp.lost_spans());
    }
    otlp.shutdown().await.expect("what was rejected is no failure to send");
}
