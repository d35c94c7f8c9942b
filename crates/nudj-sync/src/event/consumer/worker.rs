//! One event from its claim to its settlement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::counters::Counters;
use crate::causes::with_causes;
use crate::event::handler::{Handlers, Subscription};
use crate::event::schedule::{is_one_too_many, pause};
use crate::event::{
    Claimed, ConsumerConfig, Delivery, Event, EventBus, FollowUps, Permanent, ProcessedIds, Settlement,
};
use crate::status::{Observed, SyncStatus};
use crate::{BoxError, Error};

/// The longest wait for the bus. What it did after that is found out later: leases run out.
const PATIENCE: Duration = Duration::from_secs(10);

/// More follow-ups of one event are an error of the handler.
const MOST_FOLLOW_UPS: usize = 1000;

#[derive(Debug)]
pub(super) struct Work {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) handlers: Handlers,
    pub(super) processed: Option<Arc<dyn ProcessedIds>>,
    pub(super) config: ConsumerConfig,
    pub(super) counters: Arc<Counters>,
    pub(super) rng: Mutex<fastrand::Rng>,
    pub(super) stop: Stop,
    pub(super) observed: Observed,
}

/// Tells handlers to end where they are.
#[derive(Debug)]
pub(super) struct Stop {
    told: watch::Sender<bool>,
    cut_off: AtomicU64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { told: watch::Sender::new(false), cut_off: AtomicU64::new(0) }
    }
}

impl Stop {
    pub(super) fn cut(&self) {
        self.told.send_replace(true);
    }

    pub(super) fn cut_off(&self) -> u64 {
        self.cut_off.load(Relaxed)
    }

    async fn told(&self) {
        // The sender is ours and lives as long as we do.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}

struct Failure {
    reason: String,
    permanent: bool,
}

impl Work {
    pub(super) async fn handle(&self, claimed: Claimed, since: Instant) {
        let settlement = tokio::select! {
            biased;
            settlement = self.attempt(&claimed, since) => settlement,
            () = self.stop.told() => {
                self.stop.cut_off.fetch_add(1, Relaxed);
                after_cut_off(claimed.attempt)
            }
        };
        self.settle(&claimed, settlement, since).await;
    }

    async fn attempt(&self, claimed: &Claimed, since: Instant) -> Settlement {
        if is_one_too_many(&self.config, claimed.attempt) {
            let reason = "the process ended during the last attempts".to_owned();
            return self.give_up(claimed, reason);
        }
        // The claim took so long that the lease could end while a handler works. None was called, so the attempt is given back.
        if since.elapsed() > self.config.lease.saturating_sub(self.config.handler_timeout) {
            return Settlement::Release;
        }
        let limit = self.config.handler_timeout;
        // Within the async block, so that a panic before the first await is caught as well.
        let calls = std::panic::AssertUnwindSafe(async { self.call_all(claimed).await }).catch_unwind();
        let failure = match timeout(limit, calls).await {
            Ok(Ok(Ok(follow_ups))) => return Settlement::Done(follow_ups),
            Ok(Ok(Err(failure))) => failure,
            Ok(Err(_panic)) => Failure { reason: "the handler panicked".to_owned(), permanent: false },
            Err(_elapsed) => Failure { reason: format!("the handlers took longer than {limit:?}"), permanent: false },
        };
        self.counters.failed_attempts.one();
        let pause = pause(&self.config, claimed.attempt, &mut self.rng.lock());
        match pause.filter(|_| !failure.permanent) {
            Some(after) => {
                tracing::warn!(
                    event_id = %claimed.event.id, topic = %claimed.event.topic, attempt = claimed.attempt, retry_in = ?after,
                    reason = ?failure.reason, "event handler failed"
                );
                Settlement::Retry { after, reason: failure.reason }
            }
            None => self.give_up(claimed, failure.reason),
        }
    }

    fn give_up(&self, claimed: &Claimed, reason: String) -> Settlement {
        tracing::error!(
            event_id = %claimed.event.id, topic = %claimed.event.topic, attempts = claimed.attempt, reason = ?reason,
            "event given up; replay its dead letter once the cause is cured"
        );
        Settlement::Dead { reason }
    }

    async fn call_all(&self, claimed: &Claimed) -> Result<Vec<Event>, Failure> {
        let topic = &claimed.event.topic;
        let mut follow_ups = Vec::new();
        let mut called = false;
        for subscription in self.handlers.of(topic) {
            called = true;
            follow_ups.extend(self.call(subscription, claimed).await?);
        }
        if !called {
            let reason = format!("no handler for topic {topic}; add one and replay");
            return Err(Failure { reason, permanent: true });
        }
        if follow_ups.len() > MOST_FOLLOW_UPS {
            let reason =
                format!("{} follow-ups; at most {MOST_FOLLOW_UPS} may follow from one event", follow_ups.len());
            return Err(Failure { reason, permanent: true });
        }
        Ok(follow_ups)
    }

    async fn call(&self, subscription: &Subscription, claimed: &Claimed) -> Result<Vec<Event>, Failure> {
        let (name, id) = (&subscription.name, &claimed.event.id);
        let unsure = |error: Error| {
            self.counters.store_errors.one();
            Failure { reason: format!("{name}: {}", describe(&error)), permanent: false }
        };
        if let Some(processed) = &self.processed
            && let Some(follow_ups) = processed.find(name, id).await.map_err(unsure)?
        {
            self.counters.known.one();
            return checked(follow_ups);
        }
        let delivery = Delivery { event: claimed.event.clone(), attempt: claimed.attempt };
        let FollowUps(follow_ups) = subscription.handler.handle(delivery).await.map_err(|error: BoxError| Failure {
            permanent: error.downcast_ref::<Permanent>().is_some(),
            reason: format!("{name}: {}", describe(&*error)),
        })?;
        // Before they are noted: a note that cannot be read again would fail every later attempt.
        let follow_ups = checked(follow_ups)?;
        if let Some(processed) = &self.processed {
            processed.record(name, id, &follow_ups).await.map_err(unsure)?;
        }
        Ok(follow_ups)
    }

    /// Repeats while the lease lasts: an event that is done need not be handled again because the bus was away for a moment.
    async fn settle(&self, claimed: &Claimed, mut settlement: Settlement, since: Instant) {
        let mut wait = Duration::from_millis(10);
        loop {
            match self.within(self.bus.settle(claimed, &settlement)).await {
                Ok(true) => {
                    match settlement {
                        Settlement::Done(_) => self.counters.handled.one(),
                        Settlement::Dead { .. } => self.counters.dead_lettered.one(),
                        Settlement::Retry { .. } | Settlement::Release => {}
                    }
                    return;
                }
                Ok(false) => return self.counters.lost_leases.one(),
                // No repeat makes a follow-up smaller.
                Err(error @ Error::EventTooLarge { .. }) if matches!(settlement, Settlement::Done(_)) => {
                    settlement = self.give_up(claimed, format!("a follow-up is wrong: {error}"));
                    continue;
                }
                Err(error) => self.note("settle", &error),
            }
            if since.elapsed() + wait > self.config.lease || *self.stop.told.borrow() {
                return self.counters.lost_leases.one();
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    pub(super) async fn sweep(&self) {
        if let Err(error) = self.within(self.bus.sweep()).await {
            self.note("sweep", &error);
        }
        if let Some(processed) = &self.processed
            && let Err(error) = self.within(processed.sweep()).await
        {
            self.note("sweep of processed ids", &error);
        }
    }

    /// Asks the bus, and tells the observer.
    pub(super) async fn tell(&self) {
        match self.within(self.bus.lag()).await {
            Ok(lag) => self.observed.tell(|| SyncStatus {
                done: self.counters.snapshot().handled,
                waiting: Some(lag.waiting),
                lag: Some(lag.oldest_age.unwrap_or_default()),
                dead_letters: lag.dead_letters,
                ..SyncStatus::default()
            }),
            Err(error) => self.note("lag", &error),
        }
    }

    pub(super) fn note(&self, operation: &'static str, error: &Error) {
        self.counters.store_errors.one();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(operation, error = %error, cause, "the event bus failed");
    }

    pub(super) async fn within<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let patience = PATIENCE.min(self.config.lease);
        timeout(patience, operation)
            .await
            .unwrap_or_else(|_| Err(Error::store("event bus", "it did not answer in time")))
    }
}

/// The handler was called and may have had its effect: no later attempt may pass for the first. That takes one attempt at most, so that
/// shutdowns alone make no dead letter.
fn after_cut_off(attempt: u32) -> Settlement {
    if attempt > 1 {
        return Settlement::Release;
    }
    Settlement::Retry { after: Duration::ZERO, reason: "cut off by a shutdown".to_owned() }
}

fn checked(follow_ups: Vec<Event>) -> Result<Vec<Event>, Failure> {
    match follow_ups.iter().find_map(|event| event.check().err()) {
        Some(error) => Err(Failure { reason: format!("a follow-up is wrong: {error}"), permanent: true }),
        None => Ok(follow_ups),
    }
}

/// The error and its causes, cut to what a row may hold.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    const LONGEST: usize = 2000;

    let mut text = with_causes(error);
    let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    // PostgreSQL has no text with this character.
    text.replace('\0', "")
}
