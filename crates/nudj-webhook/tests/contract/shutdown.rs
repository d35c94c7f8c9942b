//! Shutdown: nothing new, what is there is finished, the deadline holds.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use nudj_webhook::inbox::{Arrival, Claimed, DeadLetter, Inbox, Recorded, Settlement, Swept};
use nudj_webhook::{Delivery, Error, Receiver};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::harness::{Clock, NUDJ_SECRET, Notes, USER_UPDATED, config, delivery, send};

fn receiver(handler: impl nudj_webhook::Handler) -> Receiver {
    Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).on_any(handler).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn queued_deliveries_are_handled_before_the_end() {
    let notes = Notes::default();
    let handler = notes.succeeding();
    let handler = std::sync::Arc::new(handler);
    let receiver = receiver(move |delivery: Delivery| {
        let handler = std::sync::Arc::clone(&handler);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            nudj_webhook::Handler::handle(&*handler, delivery).await
        }
    });
    for number in 0..100 {
        assert_eq!(send(&receiver.service(), delivery(&format!("d{number}"), USER_UPDATED)).await, StatusCode::OK);
    }
    let report = receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.left, report.kept, report.cut_off, notes.len()), (0, false, 0, 100));
    assert_eq!(receiver.shutdown(Duration::ZERO).await, report, "a second call gives the same report");
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_what_hangs_and_says_what_is_left() {
    let receiver = receiver(async |_: Delivery| std::future::pending::<Result<(), std::io::Error>>().await);
    for number in 0..20 {
        assert_eq!(send(&receiver.service(), delivery(&format!("d{number}"), USER_UPDATED)).await, StatusCode::OK);
    }
    let begun = tokio::time::Instant::now();
    let report = receiver.shutdown(Duration::from_secs(3)).await;
    assert_eq!((report.left, report.cut_off), (20, 8));
    assert!(begun.elapsed() < Duration::from_millis(3100), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn later_deadline_of_a_second_shutdown_counts() {
    // The handler was cut off at the first one's.
    for (second, left) in [(20, 0), (2, 1)] {
        let receiver = receiver(async |_: Delivery| {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok::<(), std::io::Error>(())
        });
        assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
        let given_up = tokio::time::timeout(Duration::from_secs(1), receiver.shutdown(Duration::from_secs(4))).await;
        assert!(given_up.is_err());
        let begun = tokio::time::Instant::now();
        let report = receiver.shutdown(Duration::from_secs(second)).await;
        assert_eq!((report.left, report.cut_off), (left, left), "{second} s");
        assert!(begun.elapsed() < Duration::from_secs(if left == 0 { 10 } else { 3 }), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn retry_is_waited_for_within_the_deadline() {
    let notes = Notes::default();
    let receiver = receiver(notes.handler(|delivery| if delivery.attempt == 1 { Err("once".into()) } else { Ok(()) }));
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    notes.reached(1).await;
    let report = receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.left, notes.attempts()), (0, vec![1, 2]));
}

/// While the second call waits for a request that is under way, the handlers have the time that it gave them.
#[tokio::test(start_paused = true)]
async fn later_deadline_counts_also_while_a_request_is_under_way() {
    let receiver = receiver(async |_: Delivery| {
        tokio::time::sleep(Duration::from_secs(8)).await;
        Ok::<(), std::io::Error>(())
    });
    assert_eq!(send(&receiver.service(), delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    let (_body, _under_way) = half(&receiver, "d2");
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Long enough for it to have stopped waiting for the request, and to have told the handlers its deadline.
    let given_up = tokio::time::timeout(Duration::from_millis(3500), receiver.shutdown(Duration::from_secs(4))).await;
    assert!(given_up.is_err());
    let report = receiver.shutdown(Duration::from_secs(20)).await;
    assert_eq!(report.cut_off, 0);
}

/// A request whose body is yet to come.
fn half(receiver: &Receiver, id: &str) -> (oneshot::Sender<Bytes>, JoinHandle<StatusCode>) {
    let (sender, body) = oneshot::channel::<Bytes>();
    let head = delivery(id, USER_UPDATED).headers().clone();
    let stream = futures_util::stream::once(async move { body.await.map(http_body::Frame::data) });
    let request = crate::harness::request(head, http_body_util::StreamBody::new(Box::pin(stream)));
    let service = receiver.service();
    (sender, tokio::spawn(async move { send(&service, request).await }))
}

#[tokio::test(start_paused = true)]
async fn request_under_way_when_the_shutdown_begins_is_still_handled() {
    let notes = Notes::default();
    let receiver = receiver(notes.succeeding());
    let (sender, under_way) = half(&receiver, "d1");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let stopping = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.shutdown(Duration::from_secs(5)).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(send(&receiver.service(), delivery("d2", USER_UPDATED)).await, StatusCode::SERVICE_UNAVAILABLE);
    sender.send(Bytes::from_static(USER_UPDATED)).unwrap();
    assert_eq!(under_way.await.unwrap(), StatusCode::OK);
    assert_eq!(stopping.await.unwrap().left, 0);
    assert_eq!(notes.ids(), ["d1"]);
}

#[tokio::test(start_paused = true)]
async fn request_that_ends_too_late_to_be_handled_is_not_taken() {
    // It was answered 200, and lost with the memory: 100 ms were left to its handler, or it came after the drain.
    for seconds in [3.9, 4.1] {
        let receiver = receiver(async |_: Delivery| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<(), std::io::Error>(())
        });
        let (sender, under_way) = half(&receiver, "d1");
        tokio::task::yield_now().await;
        let late = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            sender.send(Bytes::from_static(USER_UPDATED)).unwrap();
            under_way.await.unwrap()
        });
        let report = receiver.shutdown(Duration::from_secs(4)).await;
        assert_eq!((late.await.unwrap(), report.left), (StatusCode::SERVICE_UNAVAILABLE, 0), "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn task_ends_with_its_work_when_receiver_and_services_are_dropped() {
    struct Dropped(std::sync::Arc<tokio::sync::Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let gone = std::sync::Arc::new(tokio::sync::Notify::new());
    let notes = Notes::default();
    let held = Dropped(std::sync::Arc::clone(&gone));
    let handler = std::sync::Arc::new(notes.succeeding());
    let receiver = receiver(move |delivery: Delivery| {
        let (_, handler) = (&held, std::sync::Arc::clone(&handler));
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            nudj_webhook::Handler::handle(&*handler, delivery).await
        }
    });
    let service = receiver.service();
    drop(receiver);
    for number in 0..20 {
        let status = send(&service, delivery(&format!("d{number}"), USER_UPDATED)).await;
        assert_eq!(status, StatusCode::OK, "a service alone goes on");
    }
    drop(service);
    tokio::time::timeout(Duration::from_secs(100), gone.notified()).await.unwrap();
    assert_eq!(notes.len(), 20, "what was answered is handled first");
}

/// An inbox whose store never answers.
#[derive(Debug)]
struct Hanging;

#[async_trait::async_trait]
impl Inbox for Hanging {
    fn is_durable(&self) -> bool {
        true
    }

    async fn record(&self, _: Arrival) -> Result<Recorded, Error> {
        std::future::pending().await
    }

    async fn claim(&self, _: usize, _: i64, _: Duration) -> Result<Vec<Claimed>, Error> {
        std::future::pending().await
    }

    async fn settle(&self, _: &Claimed, _: Settlement, _: i64) -> Result<(), Error> {
        std::future::pending().await
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        std::future::pending().await
    }

    fn depth(&self) -> u64 {
        7
    }

    fn dead_letter_count(&self) -> u64 {
        0
    }

    async fn dead_letters(&self, _: usize) -> Result<Vec<DeadLetter>, Error> {
        std::future::pending().await
    }

    async fn replay(&self, _: &str, _: i64) -> Result<bool, Error> {
        std::future::pending().await
    }

    async fn discard(&self, _: &str, _: i64) -> Result<bool, Error> {
        std::future::pending().await
    }

    async fn sweep(&self, _: i64) -> Result<Swept, Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_hangs_holds_up_neither_answers_nor_the_end() {
    let receiver =
        Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).inbox(Hanging).build().unwrap();
    let begun = tokio::time::Instant::now();
    let status = send(&receiver.service(), delivery("d1", USER_UPDATED)).await;
    assert_eq!((status, begun.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(receiver.snapshot().store_errors >= 2, "{:?}", receiver.snapshot());
    let begun = tokio::time::Instant::now();
    let report = receiver.shutdown(Duration::from_secs(3)).await;
    assert_eq!((report.left, report.kept), (7, true));
    assert!(begun.elapsed() <= Duration::from_millis(4100), "{:?}", begun.elapsed());
}
