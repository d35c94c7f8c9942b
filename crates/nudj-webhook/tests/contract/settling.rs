//! What handlers have done is noted, also when the inbox is away for a moment or the deadline comes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use nudj_webhook::inbox::{Claimed, Inbox as _, MemoryInbox, Settlement};
use nudj_webhook::{Delivery, Error, Receiver, ReceiverBuilder};

use crate::faulty::{Faults, Faulty};
use crate::harness::{Clock, NUDJ_SECRET, Notes, config, deliver, eventually};

/// An inbox that does not take how the delivery `d1` ended while it is away: it fails, or never answers.
/// Clones are the same inbox, as a store is for the receiver that comes next.
#[derive(Clone, Debug)]
struct Away {
    inbox: Arc<MemoryInbox>,
    away: Arc<AtomicBool>,
    hangs: bool,
    /// Gives out nothing, and does not answer either.
    deaf: Arc<AtomicBool>,
}

impl Away {
    fn new(hangs: bool) -> (Self, Arc<AtomicBool>) {
        let away = Arc::new(AtomicBool::new(true));
        let inbox = Arc::new(MemoryInbox::new(&config()));
        (Self { inbox, away: Arc::clone(&away), hangs, deaf: Arc::default() }, away)
    }
}

#[async_trait::async_trait]
impl Faults for Away {
    fn inbox(&self) -> &MemoryInbox {
        &self.inbox
    }

    async fn claim(&self, limit: usize, now: i64, lease: Duration) -> Result<Vec<Claimed>, Error> {
        if self.deaf.load(SeqCst) {
            return std::future::pending().await;
        }
        self.inbox.claim(limit, now, lease).await
    }

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error> {
        if claimed.id == "d1" && self.away.load(SeqCst) {
            if self.hangs {
                return std::future::pending().await;
            }
            return Err(Error::Store("failing over".into()));
        }
        self.inbox.settle(claimed, settlement, now).await
    }
}

fn builder(inbox: Away) -> ReceiverBuilder {
    Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).seed(7).inbox(Faulty(inbox))
}

#[tokio::test(start_paused = true)]
async fn end_that_the_inbox_did_not_take_is_noted_when_it_is_back() {
    // It was tried once; with one error of the store the lease ran out and every handler was called again.
    let notes = Notes::default();
    let (inbox, away) = Away::new(false);
    let receiver = builder(inbox).on_any(notes.succeeding()).build().unwrap();
    deliver(&receiver, "d1").await;
    eventually("several tries", async || receiver.snapshot().store_errors >= 5).await;
    assert_eq!(receiver.snapshot().handled, 0);
    away.store(false, SeqCst);
    eventually("noted", async || receiver.snapshot().handled == 1).await;
    assert_eq!((receiver.snapshot().queue_depth, notes.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn tries_end_with_the_lease() {
    let mut settings = config();
    settings.queue.handler_timeout = Duration::from_secs(5);
    let (inbox, _away) = Away::new(false);
    let receiver = builder(inbox).config(settings).on_any(Notes::default().succeeding()).build().unwrap();
    deliver(&receiver, "d1").await;
    // A lease of 15 s.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let tries = receiver.snapshot().store_errors;
    assert!((6..20).contains(&tries), "{tries}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(receiver.snapshot().store_errors, tries, "somebody else may have it by now");
}

#[tokio::test(start_paused = true)]
async fn one_end_that_is_not_taken_holds_up_nobody_else() {
    for hangs in [false, true] {
        let notes = Notes::default();
        let (inbox, _away) = Away::new(hangs);
        let receiver = builder(inbox).on_any(notes.succeeding()).build().unwrap();
        deliver(&receiver, "d1").await;
        notes.reached(1).await;
        let begun = tokio::time::Instant::now();
        for number in 2..=20 {
            deliver(&receiver, &format!("d{number}")).await;
        }
        eventually("the others are done", async || receiver.snapshot().handled == 19).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "hangs {hangs}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn end_that_waits_for_the_inbox_at_the_deadline_is_noted_all_the_same() {
    let notes = Notes::default();
    let (inbox, away) = Away::new(false);
    let receiver = builder(inbox).on_any(notes.succeeding()).build().unwrap();
    deliver(&receiver, "d1").await;
    notes.reached(1).await;
    let back = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(3200)).await;
        away.store(false, SeqCst);
    });
    let report = receiver.shutdown(Duration::from_secs(3)).await;
    back.await.unwrap();
    assert_eq!((report.left, report.cut_off, receiver.snapshot().handled), (0, 0, 1), "nothing was cut off");
}

#[tokio::test(start_paused = true)]
async fn handler_that_had_succeeded_at_the_deadline_is_not_called_again() {
    // Its success was known only once the slowest handler of the delivery had ended, and that one was cut off.
    let (inbox, away) = Away::new(false);
    away.store(false, SeqCst);
    let (fast, slow) = (Notes::default(), Notes::default());
    let first = builder(inbox.clone())
        .on_any(fast.succeeding())
        .on_any(async |_: Delivery| std::future::pending::<Result<(), std::io::Error>>().await)
        .build()
        .unwrap();
    deliver(&first, "d1").await;
    fast.reached(1).await;
    let report = first.shutdown(Duration::from_secs(3)).await;
    assert_eq!((report.left, report.cut_off), (1, 1));

    let second = builder(inbox).on_any(fast.succeeding()).on_any(slow.succeeding()).build().unwrap();
    slow.reached(1).await;
    assert_eq!(second.shutdown(Duration::from_secs(3)).await.left, 0);
    assert_eq!((fast.attempts(), slow.attempts()), (vec![1], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn attempt_is_cut_off_and_noted_also_when_the_inbox_hangs_at_the_deadline() {
    // It was dropped with the dispatcher: reported as none, and left to its lease.
    let (inbox, away) = Away::new(false);
    away.store(false, SeqCst);
    let slow = Notes::default();
    let called = Arc::new(tokio::sync::Notify::new());
    let begun = Arc::clone(&called);
    let first = builder(inbox.clone()).on_any(move |_: Delivery| {
        begun.notify_one();
        std::future::pending::<Result<(), std::io::Error>>()
    });
    let first = first.build().unwrap();
    deliver(&first, "d1").await;
    called.notified().await;
    inbox.deaf.store(true, SeqCst);
    // So that it is being asked.
    deliver(&first, "d2").await;
    let begun = tokio::time::Instant::now();
    let report = first.shutdown(Duration::from_secs(3)).await;
    assert_eq!((report.left, report.cut_off), (2, 1));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());

    inbox.deaf.store(false, SeqCst);
    let second = builder(inbox).on_any(slow.succeeding()).build().unwrap();
    slow.reached(2).await;
    assert_eq!(second.shutdown(Duration::from_secs(3)).await.left, 0);
    assert_eq!(slow.attempts(), [1, 1], "an attempt that was cut off does not count");
}
