//! One attempt: every handler of the event, at the same time, bounded in time, panics caught.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::handler::{Delivery, Handler, Handlers, Permanent};
use crate::event::Event;
use crate::inbox::Claimed;
use crate::wall_clock::from_unix_millis;

/// How an attempt ended.
pub(super) struct Attempt {
    /// Those that have succeeded by now.
    pub(super) handled: Vec<String>,
    pub(super) failure: Option<Failure>,
}

pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) permanent: bool,
}

/// Calls every handler that has not succeeded yet, all at the same time.
pub(super) async fn attempt(handlers: Arc<Handlers>, claimed: Claimed, limit: Duration) -> Attempt {
    let mut handled = claimed.handled;
    let event = match Event::parse(claimed.body) {
        Ok(event) => event,
        Err(error) => {
            return Attempt { handled, failure: Some(Failure { reason: error.to_string(), permanent: true }) };
        }
    };
    let delivery = Delivery {
        id: claimed.id.into(),
        event: event.clone(),
        attempt: claimed.attempt,
        received_at: from_unix_millis(claimed.received_at),
    };
    let calls =
        handlers.of(event.name()).filter(|subscription| !handled.contains(&subscription.name)).map(|subscription| {
            let (name, handler, delivery) =
                (subscription.name.clone(), Arc::clone(&subscription.handler), delivery.clone());
            async move { (name, call(&*handler, delivery, limit).await) }
        });
    let mut failure: Option<Failure> = None;
    for (name, result) in futures_util::future::join_all(calls).await {
        match result {
            Ok(()) => handled.push(name),
            Err(Failure { reason, permanent }) => {
                let reason = format!("{name}: {reason}");
                failure = Some(match failure {
                    None => Failure { reason, permanent },
                    // One that may be cured is worth another attempt for all.
                    Some(first) => Failure {
                        reason: format!("{}; {reason}", first.reason),
                        permanent: first.permanent && permanent,
                    },
                });
            }
        }
    }
    Attempt { handled, failure }
}

async fn call(handler: &dyn Handler, delivery: Delivery, limit: Duration) -> Result<(), Failure> {
    // Within the async block, so that a panic before the first await is caught as well.
    let work = async { handler.handle(delivery).await };
    match timeout(limit, std::panic::AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            let permanent = error.downcast_ref::<Permanent>().is_some();
            Err(Failure { reason: describe(&*error), permanent })
        }
        Ok(Err(_panic)) => Err(Failure { reason: "panicked".to_owned(), permanent: false }),
        Err(_elapsed) => Err(Failure { reason: format!("took longer than {limit:?}"), permanent: false }),
    }
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
