//! The bus over NATS JetStream.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nudj_sync::Error;
use nudj_sync::event::{
    AfterDeadLetter, Consumer, ConsumerConfig, Delivery, Event, EventBus, NatsBus, NatsConfig, Settlement,
};

use super::conformance::{Engine, claim_one, conformance};
use super::harness::{event, nested, quick};

/// Streams of its own, removed at the end.
pub(crate) struct Nats {
    pub(crate) url: String,
    pub(crate) name: String,
}

impl Nats {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("NUDJ_TEST_NATS_URL") else {
            crate::left_out(test, "NUDJ_TEST_NATS_URL");
            return None;
        };
        Some(Self { url, name: format!("nudj-sync-{:016x}", fastrand::u64(..)) })
    }

    pub(crate) fn config(&self) -> NatsConfig {
        NatsConfig { name: self.name.clone(), ack_wait: Duration::from_millis(1500), ..NatsConfig::default() }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let (url, name) = (self.url.clone(), self.name.clone());
        // A runtime of its own: the test's may be ending.
        let remove = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Ok(client) = async_nats::connect(&url).await {
                    let context = async_nats::jetstream::new(client);
                    let _ = context.delete_stream(&name).await;
                    let _ = context.delete_stream(format!("{name}_dead")).await;
                }
            });
        };
        let _ = std::thread::spawn(remove).join();
    }
}

#[async_trait]
impl Engine for Nats {
    async fn bus(&self, policy: AfterDeadLetter) -> Arc<dyn EventBus> {
        let config = NatsConfig { after_dead_letter: policy, ..self.config() };
        Arc::new(NatsBus::connect(&self.url, config).await.unwrap())
    }
}

pub(super) async fn engine() -> Option<Nats> {
    Nats::new("the bus over NATS")
}

conformance!(engine, 2);

#[tokio::test]
async fn other_number_of_partitions_is_refused() {
    let Some(place) = engine().await else { return };
    NatsBus::connect(&place.url, place.config()).await.unwrap();
    let other = NatsConfig { partitions: 4, ..place.config() };
    let refused = NatsBus::connect(&place.url, other).await;
    assert!(matches!(refused, Err(Error::Config { field: "partitions", .. })));
}

#[tokio::test]
async fn lease_that_the_server_would_cut_short_is_refused() {
    let Some(place) = engine().await else { return };
    let bus = NatsBus::connect(&place.url, place.config()).await.unwrap();
    let refused = bus.claim(1, place.config().ack_wait).await;
    assert!(matches!(refused, Err(Error::Config { field: "ack_wait", .. })));
    // And not at each claim only, where a warning would be all.
    let config = ConsumerConfig { lease: place.config().ack_wait, ..quick() };
    let consumer = Consumer::builder(bus).config(config).on_any(|_: Delivery| async { Ok::<_, Error>(()) });
    assert!(matches!(consumer.start(), Err(Error::Config { field: "ack_wait", .. })));
}

/// Buried, and then the process that acknowledged it was killed: the server gives it out again.
#[tokio::test]
async fn dead_letter_whose_acknowledgement_was_lost_is_not_replayed() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { partitions: 1, ..place.config() };
    let bus = NatsBus::connect(&place.url, config).await.unwrap();
    let server = async_nats::jetstream::new(async_nats::connect(&place.url).await.unwrap());
    bus.publish(&event("k", 0)).await.unwrap();
    let message = server.get_stream(&place.name).await.unwrap().get_raw_message(1).await.unwrap();
    let claimed = claim_one(&bus).await;
    let dead = Settlement::Dead { reason: "permanent".to_owned() };
    assert!(bus.settle(&claimed, &dead).await.unwrap());
    server.publish(format!("{}.0", place.name), message.payload).await.unwrap().await.unwrap();
    bus.publish(&event("other", 1)).await.unwrap();
    assert_eq!(claim_one(&bus).await.event.id, "other-1", "the one before it is dead already");
    let letters = bus.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, "permanent");
    let lag = bus.lag().await.unwrap();
    assert_eq!(
        (lag.waiting, lag.dead_letters),
        (1, 1),
        "the other one is under way, and nothing waits behind the letter"
    );
}

#[tokio::test]
async fn message_that_is_no_event_does_not_stop_its_partition() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { partitions: 1, ..place.config() };
    let bus = NatsBus::connect(&place.url, config).await.unwrap();
    let foreign = async_nats::jetstream::new(async_nats::connect(&place.url).await.unwrap());
    foreign.publish(format!("{}.0", place.name), "no event".into()).await.unwrap().await.unwrap();
    bus.publish(&event("k", 0)).await.unwrap();
    super::harness::eventually("the event behind it", async || {
        let claimed = bus.claim(1, Duration::from_secs(1)).await.unwrap();
        claimed.first().is_some_and(|claimed| claimed.event.id == "k-0")
    })
    .await;
}

/// As an earlier version published it: such an event was taken off the bus and lost.
#[tokio::test]
async fn event_whose_payload_cannot_be_read_becomes_a_dead_letter() {
    let Some(place) = engine().await else { return };
    let config = NatsConfig { partitions: 1, after_dead_letter: AfterDeadLetter::Pass, ..place.config() };
    let bus = NatsBus::connect(&place.url, config).await.unwrap();
    let foreign = async_nats::jetstream::new(async_nats::connect(&place.url).await.unwrap());
    let deep = serde_json::to_vec(&Event { payload: nested(127), ..event("k", 0) }).unwrap();
    foreign.publish(format!("{}.0", place.name), deep.into()).await.unwrap().await.unwrap();
    bus.publish(&event("k", 1)).await.unwrap();
    super::harness::eventually("the event behind it", async || {
        let claimed = bus.claim(1, Duration::from_secs(1)).await.unwrap();
        claimed.first().is_some_and(|claimed| claimed.event.id == "k-1")
    })
    .await;
    let letters = bus.dead_letters(10).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.id.as_str()), (1, "k-0"));
    assert!(letters[0].event.payload.as_str().unwrap().contains("[[["), "its text can be looked at");
    assert!(bus.discard("k-0").await.unwrap());
    // One that lies among the dead letters from before hides no other.
    let entry = serde_json::json!({ "event": event("k", 2), "attempts": 1, "reason": "as before" }).to_string();
    let deep = entry.replace(r#""payload":2"#, &format!(r#""payload":{}"#, nested(127)));
    let subject = format!("{}_dead.0123456789abcdef", place.name);
    foreign.publish(subject, deep.into()).await.unwrap().await.unwrap();
    let letters = bus.dead_letters(10).await.unwrap();
    assert_eq!((letters.len(), letters[0].event.id.as_str()), (1, "k-2"));
}
