//! The inbox in memory with a guard that several receivers share.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use nudj_webhook::inbox::{Inbox, MemoryInbox, Recorded, ReplayGuard, Reservation, Settlement};
use nudj_webhook::{Error, Receiver, WebhookConfig};

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
    crate::harness::eventually("recorded", async || inbox.depth() == 1).await;
    let confirmed = async || guard.0.lock().get("id:d1").is_some_and(|state| state == "confirmed");
    crate::harness::eventually("confirmed", confirmed).await;
}

/// A guard that answers when it is let.
#[derive(Debug)]
struct Slow(Arc<tokio::sync::Semaphore>);

#[async_trait::async_trait]
impl ReplayGuard for Slow {
    async fn reserve(&self, _: &str, _: &str) -> Result<Reservation, Error> {
        self.0.acquire().await.unwrap().forget();
        Ok(Reservation::Fresh)
    }

    async fn confirm(&self, _: &str, _: &str, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn release(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn arrival_whose_request_is_gone_is_handled_at_once() {
    let (gate, notes) = (Arc::new(tokio::sync::Semaphore::new(0)), Notes::default());
    let receiver = Receiver::builder()
        .inbox(MemoryInbox::new(&config()).guarded_by(Slow(Arc::clone(&gate))))
        .config(config())
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(notes.succeeding())
        .build()
        .unwrap();
    let given_up = send(&receiver.service(), delivery("d1", USER_UPDATED)).await;
    assert_eq!(given_up, StatusCode::SERVICE_UNAVAILABLE, "recorded too late");
    // Another request goes away by itself.
    let service = receiver.service();
    let gone = tokio::time::timeout(Duration::from_secs(1), send(&service, delivery("d2", USER_UPDATED))).await;
    assert!(gone.is_err());
    let begun = tokio::time::Instant::now();
    gate.add_permits(2);
    notes.reached(2).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
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
