//! One event in a hundred that no attempt can handle: it stops no other, is kept, and is handled once its cause is cured.
//!
//! Four hundred events, or as many as `NUDJ_TEST_EVENTS` says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use nudj_sync::event::{AfterDeadLetter, Consumer, ConsumerConfig, Delivery};

use super::conformance::Engine;
use super::harness::{Journal, event, eventually_within, number, quick};

/// More than leases that a busy machine lets run out, one after the other, for an event that is no poison.
const MOST_ATTEMPTS: u32 = 10;

/// Events of each key.
const EACH: usize = 10;

/// The tenth event of each tenth key, so that nothing of its key waits behind it, and the fifth of the next key, where something does.
fn is_poison(key: usize, number: usize) -> bool {
    matches!((key % 20, number), (0, 9) | (11, 5))
}

pub(crate) async fn poison_stops_no_other_event_and_can_be_redriven(engine: &dyn Engine) {
    let asked = std::env::var("NUDJ_TEST_EVENTS").ok().and_then(|events| events.parse::<usize>().ok());
    let keys = asked.unwrap_or(400).div_ceil(20 * EACH) * 20;
    let (events, poison) = (keys * EACH, keys / 10);
    let most = Duration::from_secs(60 + events as u64 / 50);
    let bus = engine.bus(AfterDeadLetter::Pass).await;
    let (journal, cured) = (Journal::default(), Arc::new(AtomicBool::new(false)));
    let (seen, is_cured) = (journal.clone(), Arc::clone(&cured));
    let handler = move |delivery: Delivery| {
        seen.begin(&delivery.event);
        let key = delivery.event.key.strip_prefix("key-").unwrap().parse().unwrap();
        let fails = is_poison(key, number(&delivery.event)) && !is_cured.load(SeqCst);
        if !fails {
            seen.done(&delivery.event);
        }
        async move { if fails { Err("poison") } else { Ok(()) } }
    };
    let config = ConsumerConfig { max_attempts: MOST_ATTEMPTS, ..quick() };
    let consumer = Consumer::of(Arc::clone(&bus)).config(config).on_any(handler).start().unwrap();
    let start = tokio::time::Instant::now();
    for number in 0..EACH {
        for key in 0..keys {
            bus.publish(&event(&format!("key-{key}"), number)).await.unwrap();
        }
    }
    eventually_within(most, "nothing waits", async || bus.lag().await.unwrap().waiting == 0).await;
    let took = start.elapsed();
    assert_eq!(journal.count(), events - poison, "all others are done");
    journal.assert_in_order();
    let letters = bus.dead_letters(events).await.unwrap();
    assert_eq!((letters.len(), bus.lag().await.unwrap().dead_letters), (poison, poison as u64));
    assert!(
        letters.iter().all(|letter| letter.attempts == MOST_ATTEMPTS && letter.reason.contains("poison")),
        "{:?}",
        letters[0]
    );

    cured.store(true, SeqCst);
    for letter in &letters {
        assert!(bus.replay(&letter.event.id).await.unwrap());
    }
    eventually_within(most, "redriven", async || journal.count() == events && bus.lag().await.unwrap().waiting == 0)
        .await;
    assert_eq!(bus.lag().await.unwrap().dead_letters, 0);
    consumer.shutdown(Duration::from_secs(30)).await;
    if asked.is_some() {
        let line = format!(
            "{events} events of {keys} keys in order, {poison} of them poison: {} done in {took:.1?}, {} dead letters, all redriven\n",
            events - poison,
            letters.len()
        );
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
}
