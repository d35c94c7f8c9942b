//! Order and completeness while handlers fail at random.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nudj_sync::event::{Consumer, ConsumerConfig, Delivery};
use parking_lot::Mutex;

use super::conformance::{Engine, LEASE, hold};
use super::harness::{Journal, event, eventually, quick};

/// Three consumers, one of which crashes; handlers fail, panic and hang.
pub(crate) async fn random_failures(engine: &dyn Engine, seed: u64, failures: f64) {
    const KEYS: usize = 6;
    const EACH: usize = 8;

    let bus = hold(engine).await;
    let journal = Journal::default();
    let rng = Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)));
    let consumer = |name: u64| {
        let (journal, rng) = (journal.clone(), Arc::clone(&rng));
        let config = ConsumerConfig { handler_timeout: Duration::from_millis(100), lease: LEASE, ..quick() };
        let handler = move |delivery: Delivery| {
            let (journal, draw) = (journal.clone(), rng.lock().f64());
            let pause = Duration::from_millis(rng.lock().u64(0..3));
            async move {
                journal.begin(&delivery.event);
                tokio::time::sleep(pause).await;
                if draw < failures / 10.0 {
                    std::future::pending::<()>().await;
                }
                assert!(draw > failures / 4.0, "a panic");
                if draw < failures {
                    return Err("a failure");
                }
                journal.done(&delivery.event);
                Ok(())
            }
        };
        Consumer::of(Arc::clone(&bus)).config(config).seed(seed ^ name).on_any(handler).start().unwrap()
    };
    let consumers = [consumer(0), consumer(1)];
    let crashing = consumer(2);
    for number in 0..EACH {
        for key in 0..KEYS {
            bus.publish(&event(&format!("key-{key}"), number)).await.unwrap();
        }
        if number == EACH / 2 {
            break;
        }
    }
    eventually("some are done", async || journal.count() >= KEYS).await;
    crashing.abort().await;
    for number in EACH / 2 + 1..EACH {
        for key in 0..KEYS {
            bus.publish(&event(&format!("key-{key}"), number)).await.unwrap();
        }
    }
    eventually("all are done", async || journal.count() == KEYS * EACH && bus.lag().await.unwrap().waiting == 0).await;
    for consumer in consumers {
        assert_eq!(consumer.shutdown(Duration::from_secs(30)).await.cut_off, 0);
    }
    journal.assert_in_order();
    let done: HashSet<usize> = (0..KEYS).flat_map(|key| journal.begun(&format!("key-{key}"))).collect();
    assert_eq!(done.len(), EACH);
    assert_eq!(bus.lag().await.unwrap().dead_letters, 0);
}
