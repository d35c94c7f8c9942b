//! One delivery in its handlers' hands: the attempt, and the note of how it ended.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{Failure, PANICKED, attempt};
use super::handled::succeeded;
use super::handler::Handlers;
use super::schedule;
use crate::counters::Counters;
use crate::inbox::{Claimed, Inbox, Settlement};
use crate::wall_clock::{WallClock, millis, unix_millis};
use crate::{Error, RetryConfig};

/// The longest wait for the inbox. What a store did after it is found out later: leases run out.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The pauses after which a settlement that the inbox did not take is tried again, until the lease ends.
const AGAIN: RetryConfig =
    RetryConfig { max_attempts: u32::MAX, base_delay: Duration::from_millis(100), max_delay: Duration::from_secs(2) };

/// How far a delivery has come. Its task and the dispatcher share it, so that cutting the task off loses nothing.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Those that need not be called again.
    handled: Vec<String>,
    /// How it ended, once all have.
    settlement: Option<Settlement>,
}

impl Progress {
    pub(super) fn new(handled: Vec<String>) -> Self {
        Self(Mutex::new(State { handled, settlement: None }))
    }

    /// A handler need not be called again; the line is one of [`handled`](super::handled).
    pub(super) fn over(&self, line: String) {
        self.0.lock().handled.push(line);
    }

    pub(super) fn handled(&self) -> Vec<String> {
        self.0.lock().handled.clone()
    }

    fn ended(&self, settlement: Settlement) {
        self.0.lock().settlement = Some(settlement);
    }

    fn settlement(&self) -> Option<Settlement> {
        self.0.lock().settlement.clone()
    }
}

/// A leased delivery, with all that is needed to handle it and to say how it ended.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) handlers: Arc<Handlers>,
    /// How long a handler may take.
    pub(super) limit: Duration,
    pub(super) retry: RetryConfig,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) counters: Arc<Counters>,
    pub(super) rng: fastrand::Rng,
    pub(super) claimed: Claimed,
    /// From then on somebody else may have it.
    pub(super) lease_ends: Instant,
    pub(super) progress: Arc<Progress>,
}

impl Work {
    /// Calls the handlers and notes how they ended. In a task of its own, so that an inbox that is slow or away for a while
    /// holds up this delivery and its worker, no other.
    pub(super) async fn run(mut self) {
        let settlement = if self.claimed.attempt > self.retry.max_attempts {
            let reason = "the process ended during every attempt".to_owned();
            Settlement::Dead { handled: succeeded(self.progress.handled()), reason }
        } else if Instant::now() + self.limit >= self.lease_ends {
            // The claim took so long that somebody else could have the delivery while a handler works. None was called, so the
            // attempt is given back.
            Settlement::Release { handled: self.progress.handled() }
        } else {
            let ended = attempt(&self.handlers, self.claimed.clone(), self.limit, &self.progress).await;
            self.outcome(ended)
        };
        self.progress.ended(settlement.clone());
        self.settle(settlement).await;
    }

    /// Whether its handlers have ended, and only the note of it is left.
    pub(super) fn has_ended(&self) -> bool {
        self.progress.settlement().is_some()
    }

    /// For a task that was cut off: notes how its handlers ended, or which of them have.
    pub(super) async fn cut_off(self) {
        let release = || Settlement::Release { handled: self.progress.handled() };
        let settlement = self.progress.settlement().unwrap_or_else(release);
        self.settle(settlement).await;
    }

    /// For a task that ended by a panic of its own: a failed attempt like any other, since one that is given back would be
    /// made again at once and for ever.
    pub(super) async fn panicked(mut self) {
        let settlement = self.progress.settlement().unwrap_or_else(|| {
            let failure = Failure { reason: PANICKED.to_owned(), permanent: false };
            self.outcome(Err(failure))
        });
        self.settle(settlement).await;
    }

    fn outcome(&mut self, ended: Result<(), Failure>) -> Settlement {
        let Err(Failure { reason, permanent }) = ended else { return Settlement::Done };
        self.counters.failed_attempts.one();
        let (handled, claimed) = (self.progress.handled(), &self.claimed);
        match schedule::pause(&self.retry, claimed.attempt, self.rng.f64()).filter(|_| !permanent) {
            Some(pause) => {
                tracing::warn!(
                    delivery_id = %claimed.id, attempt = claimed.attempt, retry_in = ?pause, reason = ?reason,
                    "webhook handler failed"
                );
                Settlement::Retry { due_at: self.now().saturating_add(millis(pause)), handled, reason }
            }
            None => {
                tracing::error!(
                    delivery_id = %claimed.id, attempts = claimed.attempt, reason = ?reason,
                    "webhook delivery given up; replay its dead letter once the cause is cured"
                );
                Settlement::Dead { handled: succeeded(handled), reason }
            }
        }
    }

    /// Ends the lease. A store that fails over in this moment must not make the handlers run again, so it is tried for as
    /// long as nobody else can have the delivery.
    async fn settle(mut self, settlement: Settlement) {
        let now = self.now();
        for failed in 1.. {
            match within(self.inbox.settle(&self.claimed, settlement.clone(), now)).await {
                Ok(()) => break,
                Err(error) => note(&self.counters, "settle", &error),
            }
            let Some(pause) = schedule::pause(&AGAIN, failed, self.rng.f64()) else { return };
            if Instant::now() + pause >= self.lease_ends {
                return;
            }
            sleep(pause).await;
        }
        match settlement {
            Settlement::Done => self.counters.handled.one(),
            Settlement::Dead { .. } => self.counters.dead_lettered.one(),
            Settlement::Retry { .. } | Settlement::Release { .. } => {}
        }
    }

    fn now(&self) -> i64 {
        unix_millis(self.clock.now())
    }
}

pub(super) fn note(counters: &Counters, operation: &'static str, error: &Error) {
    counters.store_errors.one();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(operation, error = %error, cause, "the webhook inbox failed");
}

pub(super) async fn within<T>(operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, operation).await.unwrap_or_else(|elapsed| Err(Error::no_answer(elapsed)))
}
