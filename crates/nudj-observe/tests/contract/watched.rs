//! A client whose handles are watched: addresses that change, credentials that change, a client that goes.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use nudj_client::Client;
use nudj_mock::MockNudj;
use nudj_observe::{
    metrics::{CacheLevel, WebhookTotals},
    prometheus::Prometheus,
};
use nudj_tower::{
    classify::Outcome,
    credentials::{Credential, FromFn},
    observe::{Event, Observer},
    round_robin::{Endpoint, Origin},
};

use crate::{
    client,
    metrics::{sum, value},
};

fn at(url: &str) -> Endpoint {
    Endpoint::at(Origin::parse(url).unwrap())
}

/// A client that has had more addresses than are told apart.
async fn moved_often(client: &Client, prometheus: &Prometheus) {
    for number in 0..70 {
        move_to(client, &[&format!("http://127.0.1.{number}:1")]).await;
        let _ = prometheus.render();
    }
}

/// Nobody is there; a breaker is made with the first call.
async fn move_to(client: &Client, addresses: &[&str]) {
    client.handles().endpoints().set(addresses.iter().map(|address| at(address))).unwrap();
    for _ in addresses {
        client.integration().me().get().await.unwrap_err();
    }
}

#[tokio::test]
async fn after_seventy_changes_of_address_there_is_still_an_endpoint() {
    let mock = MockNudj::start().await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    prometheus.observer().watch(client.handles());
    moved_often(&client, &prometheus).await;
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 1.0, "{text}");
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", ""), 1.0);
    assert_eq!(value(&text, r#"nudj_circuit_breaker_state{endpoint="_OTHER",state="closed"}"#), Some(1.0));

    let endpoints = client.handles().endpoints();
    move_to(&client, &["http://127.0.2.1:1", "http://127.0.2.2:1", "http://127.0.2.3:1"]).await;
    client.handles().breakers()[1].force_open();
    assert!(endpoints.mark_down("http://127.0.2.3:1"));
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 1.0, "of three, one takes calls: {text}");
    assert_eq!(value(&text, r#"nudj_circuit_breaker_state{endpoint="_OTHER",state="forced_open"}"#), Some(1.0));
    assert_eq!(value(&text, r#"nudj_circuit_breaker_state{endpoint="_OTHER",state="closed"}"#), Some(2.0));

    client.handles().breakers()[1].reset();
    move_to(&client, &["http://127.0.1.1:1"]).await;
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 1.0, "one that was known from before");
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"endpoint="_OTHER""#), 0.0);
    assert_eq!(value(&text, r#"nudj_endpoint_available{endpoint="http://127.0.1.1:1"}"#), Some(1.0));
}

#[tokio::test]
async fn endpoints_that_are_not_told_apart_add_up() {
    let mock = MockNudj::start_many(2).await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    // Not seen by their own names.
    client.handles().endpoints().set([at("http://127.0.3.1:1")]).unwrap();
    prometheus.observer().watch(client.handles());
    moved_often(&client, &prometheus).await;
    let others = || value(&prometheus.render(), r#"nudj_endpoint_calls_total{endpoint="_OTHER"}"#).unwrap();
    let before = others();
    client.handles().endpoints().set(mock.urls().iter().map(|url| at(url))).unwrap();
    for calls in [2.0, 4.0, 6.0] {
        for _ in 0..2 {
            client.integration().me().get().await.unwrap();
        }
        assert_eq!(others() - before, calls);
    }
}

#[tokio::test]
async fn an_endpoint_that_comes_back_counts_on() {
    let mock = MockNudj::start().await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    prometheus.observer().watch(client.handles());
    let name = &mock.urls()[0];
    let mut expected = 0.0;
    for calls in [4, 2, 1] {
        for _ in 0..calls {
            client.integration().me().get().await.unwrap();
        }
        expected += f64::from(calls);
        assert_eq!(sum(&prometheus.render(), "nudj_endpoint_calls_total", name), expected);
        assert!(client.handles().endpoints().remove(name));
        client.handles().endpoints().add(at(name)).unwrap();
    }
}

#[tokio::test]
async fn a_cache_and_a_receiver_that_begin_anew_count_on() {
    let prometheus = Prometheus::new().unwrap();
    let (observer, total) = (prometheus.observer(), Arc::new(AtomicU64::new(0)));
    let (hits, accepted) = (Arc::clone(&total), Arc::clone(&total));
    observer
        .watch_cache(move || vec![CacheLevel { name: "memory", hits: hits.load(Relaxed), ..CacheLevel::default() }]);
    observer.watch_webhooks(move || WebhookTotals { accepted: accepted.load(Relaxed), ..WebhookTotals::default() });
    for (now, expected) in [(7, 7.0), (7, 7.0), (9, 9.0), (2, 11.0), (3, 12.0)] {
        total.store(now, Relaxed);
        let text = prometheus.render();
        assert_eq!(value(&text, r#"nudj_cache_hits_total{level="memory"}"#), Some(expected));
        assert_eq!(value(&text, r#"nudj_webhook_deliveries_total{result="accepted"}"#), Some(expected));
    }
}

#[tokio::test]
async fn a_breaker_of_somebodys_own_keeps_its_state_and_that_of_an_endpoint_that_went_does_not() {
    let mock = MockNudj::start().await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    let client = client(&mock, observer.clone());
    observer.watch(client.handles());
    for name in ["database", "http://127.0.0.9:1"] {
        observer.observe(&Event::BreakerChanged { name, from: "closed", to: "open", retry_after: None });
    }
    observer.observe(&Event::AttemptEnded { endpoint: "http://127.0.0.9:1", outcome: Some(Outcome::Failure) });
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"endpoint="database",state="open""#), 1.0, "{text}");
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"endpoint="database""#), 1.0);
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"endpoint="http://127.0.0.9:1""#), 0.0);
}

/// A client with a credential that expires.
fn expiring(prometheus: &Prometheus) -> Client {
    let credential = || ready(Ok(Credential::new("t").valid_for(Duration::from_secs(60))));
    let builder = Client::builder().endpoint("http://127.0.0.1:9");
    let builder = builder.credentials(Arc::new(FromFn::new("oauth", credential)));
    builder.observer(Arc::new(prometheus.observer().clone())).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_no_longer_expires_is_not_about_to() {
    const EXPIRES: &str = r#"nudj_credential_expires_in_seconds{provider="oauth"}"#;
    let prometheus = Prometheus::new().unwrap();
    let client = expiring(&prometheus);
    prometheus.observer().watch(client.handles());
    assert_eq!(value(&prometheus.render(), EXPIRES), None, "there is none yet");
    client.handles().credentials().load().await.unwrap();
    assert_eq!(value(&prometheus.render(), EXPIRES), Some(60.0));
    client.handles().credentials().rotate_to(&Credential::new("for-good")).unwrap();
    assert_eq!(value(&prometheus.render(), EXPIRES), Some(f64::INFINITY));
}

#[tokio::test]
async fn a_watched_client_and_its_observer_are_freed_and_leave_nothing_to_be_alarmed_by() {
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    let client = expiring(&prometheus);
    let service = client.service();
    observer.watch(client.handles());
    client.handles().credentials().load().await.unwrap();
    client.handles().breakers()[0].force_open();
    let (handles, endpoints) = (client.handles().downgrade(), client.handles().endpoints().downgrade());
    let credentials = client.handles().credentials().downgrade();
    drop(client);
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"state="forced_open""#), 1.0, "its service is there: {text}");
    drop(service);
    assert!(endpoints.upgrade().is_none() && credentials.upgrade().is_none(), "the client outlived its last user");
    assert!(handles.upgrade().is_none());

    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", ""), 0.0, "{text}");
    assert!(sum(&text, "nudj_endpoint_available", "").is_nan(), "neither 0 nor 1");
    assert_eq!(sum(&text, "nudj_credential_expires_in_seconds", ""), f64::INFINITY);

    // Another client in its place.
    let client = expiring(&prometheus);
    observer.watch(client.handles());
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"state="closed""#), 1.0);
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 1.0);

    // And one that came later and goes sooner.
    let brief = expiring(&prometheus);
    observer.watch(brief.handles());
    drop(brief);
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"state="closed""#), 1.0);
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 1.0);

    let kept = Arc::new(());
    let (observers, kept_by_source) = (Arc::downgrade(&kept), kept);
    observer.at_refresh(move || drop(Arc::clone(&kept_by_source)));
    drop(prometheus);
    assert_eq!(observers.strong_count(), 1, "the client tells it");
    drop(client);
    assert_eq!(observers.strong_count(), 0, "the observer outlived the client");
}

#[tokio::test]
async fn a_source_that_asks_for_a_refresh_gets_one() {
    let prometheus = Prometheus::new().unwrap();
    let (again, asked) = (prometheus.observer().clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    prometheus.observer().at_refresh(move || {
        count.fetch_add(1, Relaxed);
        again.refresh();
    });
    let _ = prometheus.render();
    assert_eq!(asked.load(Relaxed), 1);
}
