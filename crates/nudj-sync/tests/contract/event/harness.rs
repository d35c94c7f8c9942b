//! What the tests of the bus share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nudj_sync::event::{ConsumerConfig, Event};
use parking_lot::Mutex;

/// Quick retries, and leases that a crash makes nobody wait for.
pub(crate) fn quick() -> ConsumerConfig {
    ConsumerConfig {
        workers: 8,
        handler_timeout: Duration::from_millis(500),
        lease: Duration::from_secs(1),
        poll_interval: Duration::from_millis(5),
        max_attempts: 1000,
        base_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(4),
    }
}

/// Waits for a condition; how often it looks does not matter to the outcome.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    eventually_within(Duration::from_secs(60), what, condition).await;
}

/// The same for what may take longer.
pub(crate) async fn eventually_within(most: Duration, what: &str, condition: impl AsyncFn() -> bool) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(most, patience).await.is_ok(), "{what}");
}

pub(crate) fn event(key: &str, number: usize) -> Event {
    Event::new("test.numbered", key, number).unwrap().with_id(format!("{key}-{number}"))
}

/// So many arrays in each other.
pub(crate) fn nested(levels: usize) -> serde_json::Value {
    serde_json::from_str(&format!("{}{}", "[".repeat(levels), "]".repeat(levels))).unwrap()
}

pub(crate) fn number(event: &Event) -> usize {
    event.parse().unwrap()
}

/// What handlers saw, key by key in the order of their calls.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    begun: BTreeMap<String, Vec<usize>>,
    done: BTreeMap<String, BTreeSet<usize>>,
}

impl Journal {
    pub(crate) fn begin(&self, event: &Event) {
        self.0.lock().begun.entry(event.key.clone()).or_default().push(number(event));
    }

    pub(crate) fn done(&self, event: &Event) {
        self.0.lock().done.entry(event.key.clone()).or_default().insert(number(event));
    }

    pub(crate) fn begun(&self, key: &str) -> Vec<usize> {
        self.0.lock().begun.get(key).cloned().unwrap_or_default()
    }

    /// Events done at least once.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().done.values().map(BTreeSet::len).sum()
    }

    /// Of no key an event was begun after a later one.
    pub(crate) fn assert_in_order(&self) {
        for (key, numbers) in &self.0.lock().begun {
            assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
    }
}
