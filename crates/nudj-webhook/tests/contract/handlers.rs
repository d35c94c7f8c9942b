//! Handlers: which are called, how often, and what becomes of those that fail.

use std::time::Duration;

use http::StatusCode;
use nudj_webhook::{Delivery, Permanent, Receiver, ReceiverBuilder};

use crate::harness::{Clock, NUDJ_SECRET, Notes, USER_UPDATED, config, delivery, send};

fn builder() -> ReceiverBuilder {
    Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).seed(7)
}

async fn deliver(receiver: &Receiver, id: &str, body: &[u8]) {
    assert_eq!(send(&receiver.service(), delivery(id, body)).await, StatusCode::OK);
}

async fn dead(receiver: &Receiver, count: usize) -> Vec<nudj_webhook::inbox::DeadLetter> {
    crate::harness::eventually("dead letters", async || receiver.dead_letters(100).await.unwrap().len() == count).await;
    receiver.dead_letters(100).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn event_goes_to_its_handlers_and_to_those_for_any() {
    let (updated, any) = (Notes::default(), Notes::default());
    let receiver = builder().on("user.updated", updated.succeeding()).on_any(any.succeeding()).build().unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    deliver(&receiver, "d2", br#"{"event":"nobody.knows.it","data":{"x":1}}"#).await;
    receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!(updated.ids(), ["d1"]);
    assert_eq!(any.len(), 2);
    assert_eq!(receiver.snapshot().handled, 2);
}

#[tokio::test(start_paused = true)]
async fn failing_handler_is_repeated_after_growing_pauses_and_then_kept_as_a_dead_letter() {
    let notes = Notes::default();
    let receiver = builder().on_any(notes.handler(|_| Err("database is away".into()))).build().unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    let letters = dead(&receiver, 1).await;
    assert_eq!(notes.attempts(), [1, 2, 3, 4, 5]);
    for (index, pause) in notes.pauses().into_iter().enumerate() {
        let whole = Duration::from_secs(1 << index);
        assert!(pause >= whole / 2 && pause <= whole + Duration::from_millis(20), "{index}: {pause:?}");
    }
    assert_eq!((letters[0].id.as_str(), letters[0].event.as_str(), letters[0].attempts), ("d1", "user.updated", 5));
    assert_eq!((letters[0].reason.as_str(), &letters[0].body[..]), ("*#0: database is away", USER_UPDATED));
    let counted = receiver.snapshot();
    assert_eq!(
        (counted.failed_attempts, counted.dead_lettered, counted.dead_letters, counted.queue_depth),
        (5, 1, 1, 0)
    );
    // The sender's repeat is still a repeat.
    deliver(&receiver, "d1", USER_UPDATED).await;
    assert_eq!(receiver.snapshot().duplicate, 1);
}

#[tokio::test(start_paused = true)]
async fn dead_letter_is_replayed_or_discarded() {
    let cured = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let notes = Notes::default();
    let flag = std::sync::Arc::clone(&cured);
    let handler = notes.handler(move |_| match flag.load(std::sync::atomic::Ordering::SeqCst) {
        true => Ok(()),
        false => Err(Permanent::new("not yet").into()),
    });
    let receiver = builder().on_any(handler).build().unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    deliver(&receiver, "d2", USER_UPDATED).await;
    dead(&receiver, 2).await;
    assert_eq!(notes.attempts(), [1, 1], "what is incurable is not repeated");

    cured.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(receiver.replay_dead_letter("d1").await.unwrap());
    assert!(!receiver.replay_dead_letter("d1").await.unwrap());
    assert!(!receiver.replay_dead_letter("unknown").await.unwrap());
    notes.reached(3).await;
    assert!(receiver.discard_dead_letter("d2").await.unwrap());
    assert!(!receiver.discard_dead_letter("d2").await.unwrap());
    assert!(receiver.dead_letters(100).await.unwrap().is_empty());
    let report = receiver.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.left, notes.ids()), (0, vec!["d1".to_owned(), "d2".to_owned(), "d1".to_owned()]));
    assert_eq!(receiver.snapshot().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn handler_that_succeeded_is_not_repeated_with_one_that_failed() {
    let (good, bad) = (Notes::default(), Notes::default());
    let receiver = builder()
        .on("user.updated", good.succeeding())
        .on("user.updated", bad.handler(|delivery| if delivery.attempt < 3 { Err("no".into()) } else { Ok(()) }))
        .build()
        .unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    receiver.shutdown(Duration::from_secs(60)).await;
    assert_eq!((good.attempts(), bad.attempts()), (vec![1], vec![1, 2, 3]));
    assert_eq!(receiver.snapshot().handled, 1);
}

#[tokio::test(start_paused = true)]
async fn panic_and_overlong_work_are_failed_attempts() {
    let mut settings = config();
    settings.retry.max_attempts = 2;
    settings.queue.handler_timeout = Duration::from_secs(5);
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on("panics", |_: Delivery| -> std::future::Ready<Result<(), std::io::Error>> { panic!("planted") })
        .on("hangs", async |_: Delivery| std::future::pending::<Result<(), std::io::Error>>().await)
        .build()
        .unwrap();
    deliver(&receiver, "d1", br#"{"event":"panics"}"#).await;
    deliver(&receiver, "d2", br#"{"event":"hangs"}"#).await;
    let letters = dead(&receiver, 2).await;
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("panics#0: panicked", 2));
    assert_eq!((letters[1].reason.as_str(), letters[1].attempts), ("hangs#0: took longer than 5s", 2));
}

#[tokio::test(start_paused = true)]
async fn one_percent_of_poison_stops_nothing_else() {
    let notes = Notes::default();
    let handler = notes.handler(|delivery| match delivery.event.data()["poison"].as_bool() {
        Some(true) => Err("poison".into()),
        _ => Ok(()),
    });
    let receiver = builder().on_any(handler).build().unwrap();
    for number in 0..10_000 {
        let body = format!(r#"{{"event":"e","data":{{"poison":{}}}}}"#, number % 100 == 0);
        loop {
            match send(&receiver.service(), delivery(&format!("d{number}"), body.as_bytes())).await {
                StatusCode::OK => break,
                status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let letters = dead(&receiver, 100).await;
    assert_eq!(receiver.snapshot().handled, 9900);
    for letter in letters {
        assert!(receiver.replay_dead_letter(&letter.id).await.unwrap());
    }
    dead(&receiver, 100).await;
    assert_eq!(receiver.snapshot().dead_lettered, 200);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_and_the_dropped_are_counted() {
    let mut settings = config();
    settings.queue.max_dead_letters = 3;
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(async |_: Delivery| Err::<(), _>(Permanent::new("no")))
        .build()
        .unwrap();
    for number in 0..5 {
        deliver(&receiver, &format!("d{number}"), USER_UPDATED).await;
        crate::harness::eventually("given up", async || receiver.snapshot().dead_lettered == number + 1).await;
    }
    let ids: Vec<_> = receiver.dead_letters(100).await.unwrap().into_iter().map(|letter| letter.id).collect();
    assert_eq!(ids, ["d2", "d3", "d4"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(receiver.snapshot().dropped_dead_letters, 2);
}

#[tokio::test(start_paused = true)]
async fn full_queue_is_answered_503_and_the_delivery_may_come_again() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let mut settings = config();
    settings.queue.capacity = 3;
    settings.queue.workers = 1;
    let open = std::sync::Arc::clone(&gate);
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(move |_: Delivery| {
            let gate = std::sync::Arc::clone(&open);
            async move { gate.acquire().await.map(drop) }
        })
        .build()
        .unwrap();
    for id in ["d1", "d2", "d3"] {
        deliver(&receiver, id, USER_UPDATED).await;
    }
    tokio::task::yield_now().await;
    assert_eq!(send(&receiver.service(), delivery("d4", USER_UPDATED)).await, StatusCode::SERVICE_UNAVAILABLE);
    deliver(&receiver, "d1", USER_UPDATED).await;
    assert_eq!((receiver.snapshot().queue_depth, receiver.snapshot().unavailable), (3, 1));
    gate.add_permits(1);
    crate::harness::eventually("handled", async || receiver.snapshot().handled == 3).await;
    deliver(&receiver, "d4", USER_UPDATED).await;
    assert_eq!(receiver.snapshot().accepted, 4);
}

#[tokio::test(start_paused = true)]
async fn queue_is_bounded_in_bytes_as_well() {
    let mut settings = config();
    settings.queue.max_bytes = 4096;
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(async |_: Delivery| std::future::pending::<Result<(), std::io::Error>>().await)
        .build()
        .unwrap();
    let mut body = USER_UPDATED.to_vec();
    body.resize(2048, b' ');
    deliver(&receiver, "d1", &body).await;
    deliver(&receiver, "d2", &body).await;
    assert_eq!(send(&receiver.service(), delivery("d3", &body)).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn reason_of_a_dead_letter_has_the_causes_and_is_bounded() {
    #[derive(Debug, thiserror::Error)]
    #[error("could not save")]
    struct Outer(#[source] std::io::Error);

    let receiver = builder()
        .on("chain", async |_: Delivery| Err::<(), _>(Permanent::new(Outer(std::io::Error::other("disk\0 full")))))
        .on("long", async |_: Delivery| Err::<(), _>(Permanent::new("\u{1f600}".repeat(1000))))
        .build()
        .unwrap();
    deliver(&receiver, "d1", br#"{"event":"chain"}"#).await;
    deliver(&receiver, "d2", br#"{"event":"long"}"#).await;
    let letters = dead(&receiver, 2).await;
    assert_eq!(letters[0].reason, "chain#0: could not save: disk full");
    assert!(letters[1].reason.len() < 2100, "{}", letters[1].reason.len());
}

#[tokio::test(start_paused = true)]
async fn one_curable_failure_among_several_is_worth_another_attempt_of_its_own() {
    let (never, later) = (Notes::default(), Notes::default());
    let receiver = builder()
        .on_any(never.handler(|_| Err(Permanent::new("never").into())))
        .on_any(later.handler(|delivery| if delivery.attempt < 3 { Err("later".into()) } else { Ok(()) }))
        .build()
        .unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    let letters = dead(&receiver, 1).await;
    assert_eq!(letters[0].reason, "*#0: never");
    assert_eq!((never.attempts(), later.attempts()), (vec![1], vec![1, 2, 3]), "what is incurable is not repeated");
    // Who replays it has cured the cause.
    assert!(receiver.replay_dead_letter("d1").await.unwrap());
    never.reached(2).await;
    assert_eq!((never.attempts(), later.len()), (vec![1, 1], 3));
}

#[tokio::test(start_paused = true)]
async fn dead_letter_says_why_each_of_its_handlers_failed() {
    let receiver = builder()
        .on_any(async |_: Delivery| Err::<(), _>(Permanent::new("never")))
        .on_any(async |_: Delivery| Err::<(), _>(std::io::Error::other("away")))
        .build()
        .unwrap();
    deliver(&receiver, "d1", USER_UPDATED).await;
    assert_eq!(dead(&receiver, 1).await[0].reason, "*#0: never; *#1: away");
}

#[tokio::test(start_paused = true)]
async fn bodies_of_dead_letters_are_bounded_in_bytes_and_room_comes_back() {
    let mut settings = config();
    settings.queue.max_bytes = 4096;
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on("user.updated", async |_: Delivery| Err::<(), _>(Permanent::new("no")))
        .build()
        .unwrap();
    let mut body = USER_UPDATED.to_vec();
    body.resize(1024, b' ');
    let mut fine = br#"{"event":"fine"}"#.to_vec();
    fine.resize(1024, b' ');
    for number in 0..5 {
        deliver(&receiver, &format!("d{number}"), &body).await;
        deliver(&receiver, &format!("f{number}"), &fine).await;
        crate::harness::eventually("settled", async || receiver.snapshot().queue_depth == 0).await;
    }
    let ids: Vec<_> = receiver.dead_letters(100).await.unwrap().into_iter().map(|letter| letter.id).collect();
    assert_eq!(ids, ["d3", "d4"]);
}
