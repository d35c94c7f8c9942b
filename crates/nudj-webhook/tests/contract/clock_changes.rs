//! A clock that is set back holds up nothing in the inbox in memory, and loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use nudj_webhook::inbox::{Inbox, MemoryInbox, Recorded, Settlement};
use nudj_webhook::{Receiver, WallClock};
use tokio::time::Instant;

use crate::harness::{NUDJ_SECRET, Notes, START, USER_UPDATED, config, delivery, eventually, send};
use crate::inboxes::{NOW, arrival, claim, limits, record, settle};

const HOUR: i64 = 3_600_000;

/// A wall clock that follows tokio's and can be set.
#[derive(Clone, Debug)]
struct Settable {
    begun: Instant,
    ahead_seconds: Arc<AtomicI64>,
}

impl WallClock for Settable {
    fn now(&self) -> SystemTime {
        let seconds = START + self.ahead_seconds.load(SeqCst);
        UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()) + self.begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_and_retries_are_not_held_up_by_a_clock_that_is_set_back() {
    // Both waited until the clock was again where it had been.
    let clock = Settable { begun: Instant::now(), ahead_seconds: Arc::default() };
    let notes = Notes::default();
    let mut settings = config();
    settings.queue.workers = 1;
    let set_back = Arc::clone(&clock.ahead_seconds);
    // While the second is handled: by then the third waits, and the first waits for its retry.
    let handler = notes.handler(move |delivery| match (&*delivery.id, delivery.attempt) {
        ("d1", 1) => Err("once".into()),
        ("d2", 1) => {
            set_back.store(-3600, SeqCst);
            Err("once".into())
        }
        _ => Ok(()),
    });
    let receiver = Receiver::builder().config(settings).secret(NUDJ_SECRET).clock(clock.clone()).seed(7);
    let receiver = receiver.on_any(handler).build().unwrap();
    for id in ["d1", "d2", "d3"] {
        assert_eq!(send(&receiver.service(), delivery(id, USER_UPDATED)).await, StatusCode::OK);
    }
    eventually("handled", async || receiver.snapshot().handled == 3).await;
    assert!(clock.begun.elapsed() < Duration::from_secs(10), "{:?}", clock.begun.elapsed());
    assert_eq!(receiver.shutdown(Duration::from_secs(3)).await.left, 0);
}

#[tokio::test]
async fn what_waits_when_the_clock_is_set_back_keeps_its_pause_and_its_order() {
    let inbox = MemoryInbox::new(&limits("clock"));
    for id in ["retried", "first", "second"] {
        assert_eq!(record(&inbox, id).await, Recorded::New);
    }
    let failed = claim(&inbox, 1, NOW).await.remove(0);
    settle(&inbox, &failed, Settlement::Retry { due_at: NOW + 5000, handled: Vec::new(), reason: String::new() }).await;
    let back = NOW - HOUR;
    let ids = async |now| claim(&inbox, 10, now).await.into_iter().map(|claimed| claimed.id).collect::<Vec<_>>();
    assert_eq!(ids(back).await, ["first", "second"]);
    assert_eq!(inbox.next_due().await.unwrap(), Some(back + 5000));
    assert!(ids(back + 4999).await.is_empty(), "not before its pause is over");
    assert_eq!(ids(back + 5000).await, ["retried"]);
}

#[tokio::test]
async fn repeats_are_known_and_new_ones_taken_after_a_clock_that_was_far_ahead() {
    // One id from that time stayed until then, and all after it with it: full, and 503 to everything, for years.
    let mut config = limits("far");
    config.replay.capacity = 3;
    let inbox = MemoryInbox::new(&config);
    let at = async |id: &str, received_at: i64| {
        let mut arrival = arrival(id, None);
        arrival.received_at = received_at;
        inbox.record(arrival).await.unwrap()
    };
    assert_eq!(at("ahead", NOW + 100_000 * HOUR).await, Recorded::New);
    for id in ["d1", "d2"] {
        assert_eq!(at(id, NOW).await, Recorded::New);
    }
    assert_eq!(at("ahead", NOW).await, Recorded::Duplicate);
    assert_eq!(at("d3", NOW + HOUR).await, Recorded::New, "the oldest is past the floor");
    assert_eq!(at("d1", NOW + HOUR).await, Recorded::Duplicate);
    for id in ["ahead", "d1"] {
        assert_eq!(at(id, NOW + HOUR + 1).await, Recorded::New, "past the retention: {id}");
    }
}
