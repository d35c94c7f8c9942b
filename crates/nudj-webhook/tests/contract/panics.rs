//! A handler may panic wherever its code runs: each time that is a failed attempt, and never the end of the worker.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use nudj_webhook::{BoxError, Delivery, Handler, Permanent, Receiver};

use crate::harness::{Clock, NUDJ_SECRET, Notes, config, delivery, eventually, send};

/// An error that cannot be shown.
#[derive(Debug)]
struct Unshowable;

impl fmt::Display for Unshowable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

impl std::error::Error for Unshowable {}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("planted");
    }
}

/// Gives a delivery to a handler that fails and one that succeeds, and waits for the dead letter: its reason, and the
/// attempts of the one that succeeds.
async fn end_of(failing: impl Handler) -> (String, u32, Vec<u32>) {
    let mut settings = config();
    settings.retry.max_attempts = 2;
    settings.queue.handler_timeout = Duration::from_secs(5);
    let notes = Notes::default();
    let receiver = Receiver::builder()
        .config(settings)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(notes.succeeding())
        .on_any(failing)
        .build()
        .unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(send(&receiver.service(), delivery("d1", br#"{"event":"e"}"#)).await, StatusCode::OK);
    eventually("given up", async || receiver.snapshot().dead_letters == 1).await;
    let letter = receiver.dead_letters(1).await.unwrap().remove(0);
    if letter.attempts > 1 {
        assert!(begun.elapsed() >= Duration::from_millis(500), "without its backoff: {:?}", begun.elapsed());
    }
    (letter.reason, letter.attempts, notes.attempts())
}

#[tokio::test(start_paused = true)]
async fn error_that_panics_when_it_is_shown_is_a_failed_attempt() {
    // It was given back and made again, at once and for ever.
    let (reason, attempts, others) = end_of(async |_: Delivery| Err::<(), _>(Unshowable)).await;
    assert_eq!((reason.as_str(), attempts), ("*#1: its error panicked when it was shown", 2));
    assert_eq!(others, [1]);
}

#[tokio::test(start_paused = true)]
async fn permanent_error_that_panics_when_it_is_shown_is_still_permanent() {
    let (reason, attempts, others) = end_of(async |_: Delivery| Err::<(), _>(Permanent::new(Unshowable))).await;
    assert_eq!((reason.as_str(), attempts), ("*#1: its error panicked when it was shown", 1));
    assert_eq!(others, [1]);
}

#[tokio::test(start_paused = true)]
async fn future_that_panics_when_it_is_dropped_at_its_time_out_is_a_failed_attempt() {
    let hangs = async |_: Delivery| {
        let _bomb = Bomb;
        std::future::pending::<Result<(), std::io::Error>>().await
    };
    let (reason, attempts, others) = end_of(hangs).await;
    assert_eq!((reason.as_str(), attempts, others), ("*#1: panicked", 2, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn panic_that_nothing_within_the_attempt_catches_is_a_failed_attempt() {
    // What was thrown panics in its turn when it is dropped, so the whole task ends with it.
    let throws = |_: Delivery| -> std::future::Ready<Result<(), BoxError>> { std::panic::panic_any(Bomb) };
    let (reason, attempts, others) = end_of(throws).await;
    assert_eq!((reason.as_str(), attempts, others), ("panicked", 2, vec![1]));
}
