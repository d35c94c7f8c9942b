//! One attempt: every handler of the event, at the same time, bounded in time, panics caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::handled::{given_up, is_over, reasons};
use super::handler::{Delivery, Handler, Handlers, Permanent};
use super::work::Progress;
use crate::event::Event;
use crate::inbox::Claimed;
use crate::wall_clock::from_unix_millis;

/// The reason of an attempt that panicked.
pub(super) const PANICKED: &str = "panicked";

pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) permanent: bool,
}

/// Calls every handler that has neither succeeded yet nor failed for good, all at the same time; those that do are added
/// to `progress` as soon as they do.
///
/// # Errors
/// What the handlers failed with, all of them, those of earlier attempts that failed for good included.
pub(super) async fn attempt(
    handlers: &Handlers,
    claimed: Claimed,
    limit: Duration,
    progress: &Progress,
) -> Result<(), Failure> {
    let event = Event::parse(claimed.body).map_err(|error| Failure { reason: error.to_string(), permanent: true })?;
    let delivery = Delivery {
        id: claimed.id.into(),
        event: event.clone(),
        attempt: claimed.attempt,
        received_at: from_unix_millis(claimed.received_at),
    };
    let left = handlers.of(event.name()).filter(|subscription| !is_over(&claimed.handled, &subscription.name));
    let calls = left.map(|subscription| {
        let (name, handler, delivery) = (&subscription.name, Arc::clone(&subscription.handler), delivery.clone());
        async move {
            // Noted now, not when all have ended: the slowest may be cut off.
            match call(&*handler, delivery, limit).await {
                Ok(()) => progress.over(name.clone()),
                Err(Failure { reason, permanent: true }) => progress.over(given_up(&format!("{name}: {reason}"))),
                Err(Failure { reason, .. }) => return Some(format!("{name}: {reason}")),
            }
            None
        }
    });
    let curable: Vec<String> = futures_util::future::join_all(calls).await.into_iter().flatten().collect();
    let handled = progress.handled();
    let all: Vec<&str> = reasons(&handled).chain(curable.iter().map(String::as_str)).collect();
    if all.is_empty() {
        return Ok(());
    }
    // One that may be cured is worth another attempt.
    Err(Failure { reason: all.join("; "), permanent: curable.is_empty() })
}

async fn call(handler: &dyn Handler, delivery: Delivery, limit: Duration) -> Result<(), Failure> {
    // All that is the handler's own is within: the call before its first await, its future's end when the time is up, and
    // its error.
    let work = async {
        match timeout(limit, async { handler.handle(delivery).await }).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let permanent = error.downcast_ref::<Permanent>().is_some();
                // On its own, since what is incurable stays so.
                let described = catch_unwind(AssertUnwindSafe(|| describe(&*error)));
                let reason = described.unwrap_or_else(|_panic| "its error panicked when it was shown".to_owned());
                Err(Failure { reason, permanent })
            }
            Err(_elapsed) => Err(Failure { reason: format!("took longer than {limit:?}"), permanent: false }),
        }
    };
    let panicked = |_panic| Err(Failure { reason: PANICKED.to_owned(), permanent: false });
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

/// The error and its causes, cut to what a row may hold.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    const LONGEST: usize = 2000;

    let causes = std::iter::successors(Some(error), |error| error.source()).take(8);
    let mut text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    // PostgreSQL has no text with this character.
    text.replace('\0', "")
}
