//! How much the bus over NATS JetStream takes, and that it takes what it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_nats::jetstream;
use nudj_sync::Error;
use nudj_sync::event::{
    Consumer, Delivery, Event, EventBus, MemoryBus, NatsBus, NatsConfig, Published, Settlement, forward_to,
};

use super::conformance::{LEASE, claim_one};
use super::harness::{event, eventually, quick};
use super::nats::{Nats, engine};

/// Two events and no more.
fn small(place: &Nats) -> NatsConfig {
    NatsConfig { partitions: 1, max_events: 2, ..place.config() }
}

/// With two events on it.
async fn full(place: &Nats) -> NatsBus {
    let bus = NatsBus::connect(&place.url, small(place)).await.unwrap();
    for number in 0..2 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    assert!(matches!(bus.publish(&event("k", 2)).await, Err(Error::BusFull)));
    bus
}

async fn server(place: &Nats) -> jetstream::Context {
    jetstream::new(async_nats::connect(&place.url).await.unwrap())
}

#[tokio::test]
async fn full_stream_refuses_and_loses_nothing() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { max_events: 2, ..place.config() };
    let bus = NatsBus::connect(&place.url, config).await.unwrap();
    for number in 0..2 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    assert!(matches!(bus.publish(&event("k", 2)).await, Err(Error::BusFull)));
    assert_eq!(bus.lag().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn repeat_of_an_event_needs_no_room() {
    let Some(place) = engine().await else { return };
    let bus = full(&place).await;
    assert_eq!(bus.publish(&event("k", 1)).await.unwrap(), Published::Duplicate);
    assert_eq!(bus.lag().await.unwrap().waiting, 2);
}

#[tokio::test]
async fn room_that_is_made_is_used_and_room_that_others_take_is_not() {
    let Some(place) = engine().await else { return };
    let (bus, other) = (full(&place).await, NatsBus::connect(&place.url, small(&place)).await.unwrap());
    let claimed = claim_one(&bus).await;
    assert!(bus.settle(&claimed, &Settlement::Done(Vec::new())).await.unwrap());
    other.publish(&event("k", 2)).await.unwrap();
    assert!(matches!(bus.publish(&event("k", 3)).await, Err(Error::BusFull)));
    let claimed = claim_one(&bus).await;
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: "poison".to_owned() }).await.unwrap());
    assert!(matches!(bus.publish(&event("k", 3)).await, Err(Error::BusFull)), "a dead letter takes room");
    assert!(bus.discard("k-1").await.unwrap());
    assert_eq!(bus.publish(&event("k", 3)).await.unwrap(), Published::New);
}

/// It stood still: the follow-up had no room, so the event that would have made some was never acknowledged.
#[tokio::test]
async fn full_bus_empties_itself_through_follow_ups() {
    let Some(place) = engine().await else { return };
    let bus = full(&place).await;
    let claimed = claim_one(&bus).await;
    let follow_ups = ["test.first", "test.second"].map(|topic| claimed.event.follow_up(topic, 0).unwrap());
    assert!(bus.settle(&claimed, &Settlement::Done(follow_ups.to_vec())).await.unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let claimed = claim_one(&bus).await;
        seen.push(claimed.event.id.clone());
        assert!(bus.settle(&claimed, &Settlement::Done(Vec::new())).await.unwrap());
    }
    assert_eq!(seen, ["k-1", "k-0>test.first", "k-0>test.second"]);
    assert_eq!(bus.publish(&event("k", 2)).await.unwrap(), Published::New);
}

#[tokio::test]
async fn dead_letters_of_a_full_bus_are_replayed_one_after_the_other() {
    let Some(place) = engine().await else { return };
    let bus = full(&place).await;
    let claimed = claim_one(&bus).await;
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: "poison".to_owned() }).await.unwrap());
    eventually("the other one is put behind it", async || {
        assert_eq!(bus.claim(1, LEASE).await.unwrap(), []);
        bus.lag().await.unwrap().waiting == 1 && bus.dead_letters(9).await.unwrap().len() == 1
    })
    .await;
    // As full as one can make it.
    for number in 0..2 {
        if bus.publish(&event("other", number)).await.is_err() {
            let context = server(&place).await;
            let body = serde_json::to_vec(&event("other", number)).unwrap();
            let _ = context.publish(format!("{}.0", place.name), body.into()).await.unwrap().await;
        }
    }
    assert!(bus.replay("k-0").await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let claimed = claim_one(&bus).await;
        seen.push(claimed.event.id.clone());
        assert!(bus.settle(&claimed, &Settlement::Done(Vec::new())).await.unwrap());
    }
    assert_eq!(seen, ["other-0", "other-1", "k-0", "k-1"]);
}

/// The stream was left as it was, bound and all, and nothing said so.
#[tokio::test]
async fn stream_that_is_there_is_given_the_settings() {
    let Some(place) = engine().await else { return };
    let context = server(&place).await;
    // As an earlier version made it.
    let earlier = jetstream::stream::Config {
        name: place.name.clone(),
        subjects: vec![format!("{}.*", place.name)],
        retention: jetstream::stream::RetentionPolicy::WorkQueue,
        discard: jetstream::stream::DiscardPolicy::New,
        max_messages: 2,
        max_bytes: 1_000_000,
        duplicate_window: Duration::from_secs(60),
        description: Some("partitions: 1".to_owned()),
        ..Default::default()
    };
    context.create_stream(earlier).await.unwrap();
    let bus = full(&place).await;
    let claimed = claim_one(&bus).await;
    let follow_up = claimed.event.follow_up("test.followed", 0).unwrap();
    assert!(bus.settle(&claimed, &Settlement::Done(vec![follow_up])).await.unwrap());
    let (ack_wait, duplicate_window) = (Duration::from_secs(5), Duration::from_secs(120));
    let more = NatsConfig { max_events: 3, ack_wait, duplicate_window, ..small(&place) };
    let bus = NatsBus::connect(&place.url, more).await.unwrap();
    assert_eq!(bus.publish(&event("k", 2)).await.unwrap(), Published::New);
    let is = context.get_stream(&place.name).await.unwrap().cached_info().config.clone();
    assert_eq!(is.duplicate_window, duplicate_window);
    assert_eq!(is.max_bytes, 1_000_000, "what is not ours stays");
    let consumer = context.get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>("p0", &place.name).await;
    assert_eq!(consumer.unwrap().cached_info().config.ack_wait, ack_wait);
    let refused = NatsBus::connect(&place.url, NatsConfig { replicas: 3, ..small(&place) }).await;
    assert!(matches!(refused, Err(Error::Config { field: "replicas", .. })));
}

#[tokio::test]
async fn stream_of_somebody_else_is_not_changed() {
    let Some(place) = engine().await else { return };
    let context = server(&place).await;
    let theirs = jetstream::stream::Config { name: place.name.clone(), max_messages: 7, ..Default::default() };
    context.create_stream(theirs).await.unwrap();
    let refused = NatsBus::connect(&place.url, place.config()).await;
    assert!(matches!(refused, Err(Error::Config { field: "partitions", .. })));
    assert_eq!(context.get_stream(&place.name).await.unwrap().cached_info().config.max_messages, 7);
}

#[tokio::test]
async fn publishing_asks_for_room_once_and_not_each_time() {
    let Some(place) = engine().await else { return };
    let client = async_nats::connect(&place.url).await.unwrap();
    let bus = NatsBus::new(client.clone(), place.config()).await.unwrap();
    let sent = || client.statistics().out_messages.load(Relaxed);
    bus.publish(&event("k", 0)).await.unwrap();
    let before = sent();
    for number in 1..50 {
        bus.publish(&event("k", number)).await.unwrap();
    }
    assert_eq!(sent() - before, 49);
}

/// An event of key `k` that takes so many bytes as JSON.
fn sized(number: usize, bytes: usize) -> Event {
    let with = |text: String| Event { payload: text.into(), ..event("k", number) };
    let around = serde_json::to_vec(&with(String::new())).unwrap().len();
    with("x".repeat(bytes - around))
}

async fn largest_message(place: &Nats) -> usize {
    async_nats::connect(&place.url).await.unwrap().max_payload()
}

/// One that just fitted could not be put among the dead letters, and its partition stood still.
#[tokio::test]
async fn largest_event_can_become_a_dead_letter_whatever_the_reason() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { partitions: 1, ..place.config() };
    let bus = NatsBus::connect(&place.url, config).await.unwrap();
    let largest = largest_message(&place).await;
    let refused = bus.publish(&sized(0, largest - 100)).await;
    let Err(Error::EventTooLarge { bytes, most, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((bytes, most), (largest - 100, largest - 1024));
    let event = Event { id: "i".repeat(256), ..sized(0, largest - 1024 - 253) };
    assert_eq!(serde_json::to_vec(&event).unwrap().len(), most);
    bus.publish(&event).await.unwrap();
    let claimed = claim_one(&bus).await;
    // Six bytes each as JSON has it, after an odd one.
    let reason = format!("the reason é{}", "\u{1}".repeat(2000));
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: reason.clone() }).await.unwrap());
    eventually("it is listed", async || bus.dead_letters(1).await.unwrap().iter().any(|letter| letter.event == event))
        .await;
    let letters = bus.dead_letters(1).await.unwrap();
    assert!(reason.starts_with(&letters[0].reason) && letters[0].reason.len() < reason.len());
    assert!(bus.replay(&event.id).await.unwrap());
    assert_eq!(claim_one(&bus).await.event, event);
}

#[tokio::test]
async fn short_reason_of_a_large_event_is_kept_whole() {
    let Some(place) = engine().await else { return };
    let bus = NatsBus::connect(&place.url, place.config()).await.unwrap();
    let event = sized(0, largest_message(&place).await - 1024);
    bus.publish(&event).await.unwrap();
    let claimed = claim_one(&bus).await;
    let reason = "r".repeat(500);
    assert!(bus.settle(&claimed, &Settlement::Dead { reason: reason.clone() }).await.unwrap());
    eventually("it is listed", async || {
        bus.dead_letters(1).await.unwrap().iter().any(|letter| letter.reason == reason)
    })
    .await;
}

#[tokio::test]
async fn event_whose_follow_up_is_too_large_becomes_a_dead_letter_at_once() {
    let Some(place) = engine().await else { return };
    let bus: Arc<dyn EventBus> = Arc::new(NatsBus::connect(&place.url, place.config()).await.unwrap());
    let largest = largest_message(&place).await;
    bus.publish(&event("k", 0)).await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let consumer = Consumer::of(Arc::clone(&bus)).config(quick()).on_any(move |delivery: Delivery| {
        counted.fetch_add(1, Relaxed);
        let small = delivery.event.follow_up("test.followed", 0).unwrap();
        async move { Ok::<_, Error>(vec![small, sized(1, largest - 100)]) }
    });
    let consumer = consumer.start().unwrap();
    eventually("it is given up", async || bus.lag().await.unwrap().dead_letters == 1).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    let letters = bus.dead_letters(9).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.id.as_str(), letters[0].attempts), (1, "k-0", 1));
    assert!(letters[0].reason.contains("max_payload"), "{}", letters[0].reason);
    assert_eq!(calls.load(Relaxed), 1);
    assert_eq!(bus.lag().await.unwrap().waiting, 0, "the other follow-up was not published");
}

#[tokio::test]
async fn event_that_is_too_large_to_be_forwarded_becomes_a_dead_letter_at_once() {
    let Some(place) = engine().await else { return };
    let here: Arc<dyn EventBus> = Arc::new(MemoryBus::new(Default::default()).unwrap());
    let there = NatsBus::connect(&place.url, place.config()).await.unwrap();
    here.publish(&sized(0, largest_message(&place).await - 100)).await.unwrap();
    let consumer = Consumer::of(Arc::clone(&here)).config(quick()).on_any(forward_to(there)).start().unwrap();
    eventually("it is given up", async || here.lag().await.unwrap().dead_letters == 1).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(here.dead_letters(1).await.unwrap()[0].attempts, 1);
}
