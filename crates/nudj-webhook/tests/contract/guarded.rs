//! The inbox in memory with a guard that several receivers share.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use nudj_webhook::inbox::{Inbox, MemoryInbox, Recorded, ReplayGuard, Reservation, Settlement};
use nudj_webhook::{Error, Receiver, WebhookConfig};
use tokio::sync::Semaphore;

use crate::harness::{Clock, NUDJ_SECRET, Notes, USER_UPDATED, config, delivery, send};
use crate::inboxes::{NOW, arrival, claim, keeps_its_promises, limits, record, settle};

/// A guard that several inboxes share; reservations do not run out.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<parking_lot::Mutex<std::collections::HashMap<String, String>>>);

#[async_trait::async_trait]
impl ReplayGuard for Shared {
    async fn reserve(&self, id: &str, token: &str) -> Result<Reservation, Error> {
        tokio::task::yield_now().await;
        if id.contains("broken") {
            return Err(Error::Store("planted".into()));
        }
        let mut held = self.0.lock();
        Ok(match held.get(id).map(String::as_str) {
            None => {
                held.insert(id.to_owned(), token.to_owned());
                Reservation::Fresh
            }
            Some("confirmed") => Reservation::Seen,
            Some(_) => Reservation::Reserved,
        })
    }

    async fn confirm(&self, id: &str, _: &str, _: Duration) -> Result<(), Error> {
        self.0.lock().insert(id.to_owned(), "confirmed".to_owned());
        Ok(())
    }

    async fn release(&self, id: &str, token: &str) -> Result<(), Error> {
        let mut held = self.0.lock();
        if held.get(id).is_some_and(|holder| holder == token) {
            held.remove(id);
        }
        Ok(())
    }
}

#[tokio::test]
async fn guarded_memory_keeps_its_promises() {
    // Without a retention the double would remember for ever: that promise is Redis's to keep.
    let make = async |config: WebhookConfig| {
        let inbox = MemoryInbox::new(&config);
        let inbox = if config.source == "retention" { inbox } else { inbox.guarded_by(Shared::default()) };
        Arc::new(inbox) as Arc<dyn Inbox>
    };
    keeps_its_promises(make).await;
}

#[tokio::test]
async fn what_a_guard_refused_leaves_nothing_behind() {
    let guard = Shared::default();
    let make = || MemoryInbox::new(&limits("shared")).guarded_by(guard.clone());
    let (one, two) = (make(), make());
    let ask = async |inbox: &MemoryInbox, id: &str, key: &str| inbox.record(arrival(id, Some(key))).await;
    assert_eq!(ask(&one, "d1", "k1").await.unwrap(), Recorded::New);
    assert_eq!(ask(&two, "d1", "k1").await.unwrap(), Recorded::Duplicate);
    assert_eq!(ask(&two, "d2", "k1").await.unwrap(), Recorded::Duplicate);
    assert!(ask(&two, "d3", "broken").await.is_err());
    assert_eq!((two.depth(), guard.0.lock().len()), (0, 2));
    for id in ["d2", "d3"] {
        assert_eq!(ask(&two, id, id).await.unwrap(), Recorded::New, "{id}");
    }
    // One that another receiver is recording must come again.
    guard.0.lock().insert("id:d4".into(), "somebody".into());
    assert_eq!(ask(&two, "d4", "k4").await.unwrap(), Recorded::Busy);
}

#[tokio::test]
async fn arrival_whose_request_is_gone_is_recorded_all_the_same() {
    let guard = Shared::default();
    let inbox = MemoryInbox::new(&limits("gone")).guarded_by(guard.clone());
    let mut record = inbox.record(arrival("d1", None));
    // Polled once, so that it has begun, and dropped.
    assert!(futures_util::FutureExt::now_or_never(&mut record).is_none());
    drop(record);
    let confirmed = async || guard.0.lock().get("id:d1").is_some_and(|state| state == "confirmed");
    crate::harness::eventually("confirmed", confirmed).await;
    assert_eq!((inbox.depth(), claim(&inbox, 10, NOW).await.len()), (1, 1));
}

/// A guard that reserves when it is let.
#[derive(Clone, Debug)]
struct Slow {
    gate: Arc<Semaphore>,
    guard: Shared,
}

impl Slow {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), guard: Shared::default() }
    }

    fn let_go_on(&self) {
        self.gate.add_permits(1);
    }
}

#[async_trait::async_trait]
impl ReplayGuard for Slow {
    async fn reserve(&self, id: &str, token: &str) -> Result<Reservation, Error> {
        self.gate.acquire().await.unwrap().forget();
        self.guard.reserve(id, token).await
    }

    async fn confirm(&self, id: &str, token: &str, retention: Duration) -> Result<(), Error> {
        self.guard.confirm(id, token, retention).await
    }

    async fn release(&self, id: &str, token: &str) -> Result<(), Error> {
        self.guard.release(id, token).await
    }
}

fn receiver(guard: impl ReplayGuard, notes: &Notes) -> Receiver {
    let builder = Receiver::builder().inbox(MemoryInbox::new(&config()).guarded_by(guard)).config(config());
    builder.secret(NUDJ_SECRET).clock(Clock::start()).on_any(notes.succeeding()).build().unwrap()
}

#[tokio::test]
async fn arrivals_that_wait_for_one_another_keep_within_the_limits() {
    // Those of one id waited for the first of them with no place of their own, and their bodies with them.
    let limited = |capacity: usize, max_bytes: usize| {
        let mut config = limits("piled up");
        (config.queue.capacity, config.queue.max_bytes) = (capacity, max_bytes);
        config
    };
    // A body has 7 bytes.
    for config in [limited(3, 1000), limited(1000, 21)] {
        let guard = Slow::new();
        let inbox = MemoryInbox::new(&config).guarded_by(guard.clone());
        let begin = |id: &str| futures_util::FutureExt::now_or_never(inbox.record(arrival(id, None)));
        for _ in 0..3 {
            // It has begun, and goes on without its request.
            assert!(begin("d1").is_none());
        }
        assert_eq!(begin("d1").unwrap().unwrap(), Recorded::Busy);
        assert_eq!(begin("d2").unwrap().unwrap(), Recorded::Busy);
        guard.let_go_on();
        crate::harness::eventually("the two others were repeats", async || {
            inbox.depth() == 1 && begin("d1").is_some_and(|known| matches!(known, Ok(Recorded::Duplicate)))
        })
        .await;
        guard.let_go_on();
        assert_eq!(record(&inbox, "d2").await, Recorded::New);
    }
}

/// A request that goes away while the guard is being asked.
async fn gone(receiver: &Receiver, id: &str) {
    let service = receiver.service();
    let asked = send(&service, delivery(id, USER_UPDATED));
    assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn arrival_whose_request_is_gone_is_handled_at_once() {
    let (guard, notes) = (Slow::new(), Notes::default());
    let receiver = receiver(guard.clone(), &notes);
    let given_up = send(&receiver.service(), delivery("d1", USER_UPDATED)).await;
    assert_eq!(given_up, StatusCode::SERVICE_UNAVAILABLE, "recorded too late");
    // Another request goes away by itself.
    gone(&receiver, "d2").await;
    let begun = tokio::time::Instant::now();
    guard.let_go_on();
    guard.let_go_on();
    notes.reached(2).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_an_arrival_whose_request_is_gone() {
    // It ended at once with nothing left; then the id was confirmed, and the sender's repeat a duplicate everywhere.
    for seen in [false, true] {
        let (guard, notes) = (Slow::new(), Notes::default());
        let receiver = receiver(guard.clone(), &notes);
        gone(&receiver, "d1").await;
        assert_eq!(receiver.snapshot().queue_depth, 1);
        if seen {
            // By another receiver; then there is nothing to handle, and nothing to wait for.
            guard.guard.0.lock().insert("id:d1".into(), "confirmed".into());
        }
        let answering = async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            guard.let_go_on();
        };
        let begun = tokio::time::Instant::now();
        let (report, ()) = tokio::join!(receiver.shutdown(Duration::from_secs(10)), answering);
        assert_eq!((report.left, notes.len()), (0, usize::from(!seen)), "seen {seen}");
        assert!(begun.elapsed() < Duration::from_secs(5), "seen {seen}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn arrival_that_the_guard_lets_in_after_the_end_is_left_to_another_receiver() {
    let (guard, notes) = (Slow::new(), Notes::default());
    let first = receiver(guard.clone(), &notes);
    let service = first.service();
    let late = tokio::spawn(async move { send(&service, delivery("d1", USER_UPDATED)).await });
    crate::harness::eventually("asked", async || first.snapshot().queue_depth == 1).await;
    assert_eq!(first.shutdown(Duration::from_secs(1)).await.left, 0, "it was not answered");
    guard.let_go_on();
    assert_eq!(late.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((first.snapshot().queue_depth, notes.len()), (0, 0));

    let second = receiver(guard.clone(), &notes);
    guard.let_go_on();
    assert_eq!(send(&second.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    notes.reached(1).await;
}

#[tokio::test]
async fn closed_memory_takes_nothing_new_and_still_knows_repeats() {
    for guarded in [false, true] {
        let inbox = MemoryInbox::new(&limits("closed"));
        let inbox = if guarded { inbox.guarded_by(Shared::default()) } else { inbox };
        assert_eq!(record(&inbox, "d1").await, Recorded::New);
        assert!(!inbox.close_if_idle(), "one waits");
        assert_eq!(record(&inbox, "d2").await, Recorded::New);
        for claimed in claim(&inbox, 2, NOW).await {
            settle(&inbox, &claimed, Settlement::Done).await;
        }
        assert!(inbox.close_if_idle());
        assert_eq!((record(&inbox, "d3").await, record(&inbox, "d1").await), (Recorded::Busy, Recorded::Duplicate));
    }
}

#[tokio::test]
async fn memory_is_bounded_in_bytes_with_and_without_a_guard() {
    for guarded in [false, true] {
        let mut config = limits("bytes");
        config.queue.max_bytes = 70;
        let inbox = MemoryInbox::new(&config);
        let inbox = if guarded { inbox.guarded_by(Shared::default()) } else { inbox };
        for number in 0..10 {
            assert_eq!(record(&inbox, &format!("d{number}")).await, Recorded::New, "{number}");
        }
        assert_eq!(record(&inbox, "d10").await, Recorded::Busy);
        let claimed = claim(&inbox, 1, NOW).await.remove(0);
        settle(&inbox, &claimed, Settlement::Done).await;
        assert_eq!(record(&inbox, "d10").await, Recorded::New);
        assert_eq!(record(&inbox, "d11").await, Recorded::Busy);
    }
}
