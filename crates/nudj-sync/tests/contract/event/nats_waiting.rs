//! What waits on the bus over NATS JetStream: for a worker, or behind a dead letter.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream;
use nudj_sync::Error;
use nudj_sync::event::{
    AfterDeadLetter, Consumer, ConsumerConfig, Delivery, EventBus, NatsBus, NatsConfig, Settlement,
};
use parking_lot::Mutex;

use super::conformance::claim_one;
use super::harness::{event, eventually, number, quick};
use super::nats::{Nats, engine};

/// What came while the worker was busy was dropped when it had waited for too long, and came again as a further attempt.
#[tokio::test]
async fn event_that_waits_for_a_worker_is_at_its_first_attempt_still() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { partitions: 8, ack_wait: Duration::from_secs(10), ..place.config() };
    let bus: Arc<dyn EventBus> = Arc::new(NatsBus::connect(&place.url, config).await.unwrap());
    let keys: Vec<String> = (0..12).map(|key| format!("key-{key}")).collect();
    for key in &keys {
        bus.publish(&event(key, 0)).await.unwrap();
    }
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&attempts);
    // Between a lease and what the server allows is less than one handler takes.
    let config = ConsumerConfig { workers: 1, lease: Duration::from_millis(9_900), ..quick() };
    let consumer = Consumer::of(Arc::clone(&bus)).config(config).on_any(move |delivery: Delivery| {
        seen.lock().push(delivery.attempt);
        async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Ok::<_, Error>(())
        }
    });
    let consumer = consumer.start().unwrap();
    eventually("all of them", async || attempts.lock().len() >= keys.len()).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(*attempts.lock(), [1; 12]);
}

const PARKED: usize = 1200;

/// A dead letter of key `k` with many behind it, and one of another key behind these. As an earlier version left them, or as this one does.
async fn dead_and_parked(place: &Nats, bus: &NatsBus, has_ids: bool) {
    let context = jetstream::new(async_nats::connect(&place.url).await.unwrap());
    let die = async |key| {
        bus.publish(&event(key, 0)).await.unwrap();
        let claimed = claim_one(bus).await;
        assert!(bus.settle(&claimed, &Settlement::Dead { reason: "poison".to_owned() }).await.unwrap());
    };
    die("k").await;
    let dead = context.get_stream(format!("{}_dead", place.name)).await.unwrap();
    let first = dead.get_raw_message(1).await.unwrap();
    let mut acknowledged = Vec::new();
    for number in 1..=PARKED {
        let entry = serde_json::json!({ "event": event("k", number) });
        let mut headers = async_nats::HeaderMap::new();
        if has_ids {
            headers.insert("Nudj-Event-Id", event("k", number).id);
        }
        let subject = first.subject.clone();
        acknowledged.push(context.publish_with_headers(subject, headers, entry.to_string().into()).await.unwrap());
    }
    for ack in acknowledged {
        ack.await.unwrap();
    }
    die("z").await;
}

/// Each of them was a request of its own.
#[tokio::test]
async fn dead_letters_behind_many_that_wait_are_found_in_few_requests() {
    for has_ids in [false, true] {
        let Some(place) = engine().await else { return };
        let client = async_nats::connect(&place.url).await.unwrap();
        let bus = NatsBus::new(client.clone(), NatsConfig { partitions: 1, ..place.config() }).await.unwrap();
        dead_and_parked(&place, &bus, has_ids).await;
        let sent = || client.statistics().out_messages.load(Relaxed);
        let before = sent();
        let letters = bus.dead_letters(10).await.unwrap();
        let ids: Vec<&str> = letters.iter().map(|letter| letter.event.id.as_str()).collect();
        assert_eq!(ids, ["k-0", "z-0"]);
        assert!(!bus.discard("k-7").await.unwrap(), "it is none, and waits behind one");
        assert!(bus.discard("z-0").await.unwrap());
        assert!(bus.discard("k-0").await.unwrap());
        assert!(sent() - before < 100, "{}", sent() - before);
        assert_eq!(claim_one(&bus).await.event.id, "k-1", "the next one's turn");
    }
}

#[tokio::test]
async fn dead_letter_that_waits_for_none_is_found_in_few_requests() {
    let Some(place) = engine().await else { return };
    let client = async_nats::connect(&place.url).await.unwrap();
    let config = NatsConfig { partitions: 1, after_dead_letter: AfterDeadLetter::Pass, ..place.config() };
    let bus = NatsBus::new(client.clone(), config).await.unwrap();
    dead_and_parked(&place, &bus, true).await;
    let before = client.statistics().out_messages.load(Relaxed);
    assert!(bus.discard("z-0").await.unwrap());
    assert!(!bus.discard("z-0").await.unwrap());
    assert!(client.statistics().out_messages.load(Relaxed) - before < 50);
    assert_eq!(bus.dead_letters(3).await.unwrap().len(), 3);
    let all = bus.dead_letters(usize::MAX).await.unwrap();
    let numbers: Vec<usize> = all.iter().map(|letter| number(&letter.event)).collect();
    assert_eq!(numbers, (0..=PARKED).collect::<Vec<_>>());
    assert_eq!(bus.dead_letters(0).await.unwrap(), []);
}

/// One for each question, so nothing may be left of them.
#[tokio::test]
async fn looking_through_dead_letters_leaves_nothing_at_the_server() {
    let Some(place) = engine().await else { return };
    let bus = NatsBus::connect(&place.url, place.config()).await.unwrap();
    assert_eq!(bus.dead_letters(9).await.unwrap(), []);
    assert!(!bus.replay("nobody").await.unwrap());
    let context = jetstream::new(async_nats::connect(&place.url).await.unwrap());
    let dead = context.get_stream(format!("{}_dead", place.name)).await.unwrap();
    eventually("no consumer", async || dead.get_info().await.unwrap().state.consumer_count == 0).await;
}
