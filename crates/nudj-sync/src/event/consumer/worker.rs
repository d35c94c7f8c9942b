//! One event from its claim to its settlement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::counters::Counters;
use super::follow_ups::check;
use crate::backoff::backoff;
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

/// So much longer for each follow-up: a bus without transactions publishes them one after the other.
const PATIENCE_PER_FOLLOW_UP: Duration = Duration::from_millis(100);

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
            self.hold_back(claimed, since).await;
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

    /// Keeps an event for a while that is to be given back: the next claim may take as long, and the two must not chase each other.
    async fn hold_back(&self, claimed: &Claimed, since: Instant) {
        self.counters.given_back.one();
        let (took, ours) = (since.elapsed(), self.config.lease.saturating_sub(since.elapsed()));
        let pause = backoff(self.config.base_delay, self.config.max_delay, claimed.attempt, &mut self.rng.lock());
        tracing::warn!(
            event_id = %claimed.event.id, ?took, lease = ?self.config.lease, handler_timeout = ?self.config.handler_timeout,
            "the claim of an event took too long for a handler to be called; make the lease longer"
        );
        tokio::select! {
            () = sleep(pause.min(ours / 2)) => {}
            () = self.stop.told() => {}
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
            let more = self.call(subscription, claimed, &follow_ups).await?;
            follow_ups.extend(more);
        }
        if !called {
            let reason = format!("no handler for topic {topic}; add one and replay");
            return Err(Failure { reason, permanent: true });
        }
        Ok(follow_ups)
    }

    /// `before` follow from the event as well.
    async fn call(
        &self,
        subscription: &Subscription,
        claimed: &Claimed,
        before: &[Event],
    ) -> Result<Vec<Event>, Failure> {
        let (name, note, id) = (subscription, &subscription.note, &claimed.event.id);
        let wrong = |reason: String| Failure { reason: format!("{name}: {reason}"), permanent: true };
        let unsure = |error: Error| {
            self.counters.store_errors.one();
            Failure { reason: format!("{name}: {}", describe(&error)), permanent: false }
        };
        if let Some(processed) = &self.processed
            && let Some(follow_ups) = processed.find(note, id).await.map_err(unsure)?
        {
            self.counters.known.one();
            check(before, &follow_ups).map_err(wrong)?;
            return Ok(follow_ups);
        }
        let delivery = Delivery { event: claimed.event.clone(), attempt: claimed.attempt };
        let FollowUps(follow_ups) = subscription.handler.handle(delivery).await.map_err(|error: BoxError| Failure {
            permanent: error.downcast_ref::<Permanent>().is_some(),
            reason: format!("{name}: {}", describe(&*error)),
        })?;
        // Before they are noted: a note that cannot be read again would fail every later attempt.
        check(before, &follow_ups).map_err(wrong)?;
        if let Some(processed) = &self.processed {
            processed.record(note, id, &follow_ups).await.map_err(unsure)?;
        }
        Ok(follow_ups)
    }

    /// Repeats while the lease lasts: an event that is done need not be handled again because the bus was away for a moment.
    async fn settle(&self, claimed: &Claimed, mut settlement: Settlement, since: Instant) {
        let mut wait = Duration::from_millis(10);
        loop {
            match self.settle_once(claimed, &settlement, since).await {
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

    async fn settle_once(&self, claimed: &Claimed, settlement: &Settlement, since: Instant) -> Result<bool, Error> {
        let lease = self.config.lease;
        let follow_ups = match settlement {
            Settlement::Done(follow_ups) => u32::try_from(follow_ups.len()).unwrap_or(u32::MAX),
            _ => 0,
        };
        let needed = PATIENCE.saturating_add(PATIENCE_PER_FOLLOW_UP.saturating_mul(follow_ups));
        let patience = needed.min(lease.saturating_sub(since.elapsed()).max(PATIENCE.min(lease)));
        tokio::select! {
            biased;
            settled = timeout(patience, self.bus.settle(claimed, settlement)) => settled.unwrap_or_else(|_| no_answer()),
            // A shutdown has waited long enough, and waits no longer than it says.
            () = async { self.stop.told().await; sleep(PATIENCE).await } => no_answer(),
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
        timeout(patience, operation).await.unwrap_or_else(|_| no_answer())
    }
}

fn no_answer<T>() -> Result<T, Error> {
    Err(Error::store("event bus", "it did not answer in time"))
}

/// The handler was called and may have had its effect: no later attempt may pass for the first. That takes one attempt at most, so that
/// shutdowns alone make no dead letter.
fn after_cut_off(attempt: u32) -> Settlement {
    if attempt > 1 {
        return Settlement::Release;
    }
    Settlement::Retry { after: Duration::ZERO, reason: "cut off by a shutdown".to_owned() }
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
