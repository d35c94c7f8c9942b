//! The task that gives deliveries to their handlers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::attempt::{Attempt, Failure, attempt};
use super::handler::Handlers;
use super::schedule;
use crate::counters::Counters;
use crate::inbox::{Claimed, Inbox, Settlement};
use crate::wall_clock::{WallClock, millis, unix_millis};
use crate::{Error, QueueConfig, RetryConfig};

/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(60);

/// The longest wait for the inbox. What a store did after it is found out later: leases run out.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lease outlasts the handlers by as much as they may take, at most this: time to note how they ended.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// What the dispatcher is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Take nothing in; deliveries are handled as before.
    Closed,
    /// Handle what is due until then, and end.
    Draining(Instant),
}

pub(crate) struct Dispatcher {
    pub(crate) inbox: Arc<dyn Inbox>,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) queue: QueueConfig,
    pub(crate) retry: RetryConfig,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) wake: Arc<Notify>,
    pub(crate) phase: watch::Receiver<Phase>,
}

type Ended = Result<(Id, Attempt), JoinError>;

impl Dispatcher {
    /// Works until it is told to drain; when nobody is left who could tell, it drains without a deadline. Returns how many attempts were cut off.
    pub(crate) async fn run(mut self) -> u64 {
        let mut running: JoinSet<Attempt> = JoinSet::new();
        let mut leases: HashMap<Id, Claimed> = HashMap::new();
        let mut next_sweep = Instant::now() + SWEEP;
        loop {
            let phase = *self.phase.borrow_and_update();
            let orphaned = self.phase.has_changed().is_err();
            if let Phase::Draining(deadline) = phase
                && Instant::now() >= deadline
            {
                break;
            }
            let started = self.start_due(&mut running, &mut leases).await;
            let ending = orphaned || matches!(phase, Phase::Draining(_));
            if running.is_empty() && ending && self.is_drained(&started).await {
                return 0;
            }
            let wait = self.next_look(&started, running.len(), next_sweep).await;
            let deadline = match phase {
                Phase::Draining(deadline) => wait.min(deadline),
                Phase::Running | Phase::Closed => wait,
            };
            tokio::select! {
                Some(ended) = running.join_next_with_id() => self.settle(ended, &mut leases).await,
                () = self.wake.notified(), if running.len() < self.queue.workers => {}
                changed = self.phase.changed(), if !orphaned => drop(changed),
                () = sleep_until(deadline) => {}
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + SWEEP;
                self.sweep().await;
            }
        }
        running.abort_all();
        let mut cut_off = 0;
        while let Some(ended) = running.join_next_with_id().await {
            cut_off += u64::from(ended.as_ref().is_err_and(JoinError::is_cancelled));
            self.settle(ended, &mut leases).await;
        }
        cut_off
    }

    /// Starts what is due, as far as there are workers; the number started.
    async fn start_due(
        &mut self,
        running: &mut JoinSet<Attempt>,
        leases: &mut HashMap<Id, Claimed>,
    ) -> Result<usize, ()> {
        let free = self.queue.workers.saturating_sub(running.len());
        if free == 0 {
            return Ok(0);
        }
        // All handlers of a delivery run at the same time, so one time-out bounds them all.
        let limit = self.queue.handler_timeout;
        let lease = limit.saturating_add(limit.min(LEASE_MARGIN));
        let claimed = match within(self.inbox.claim(free, self.now(), lease)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.note("claim", &error);
                return Err(());
            }
        };
        let started = claimed.len();
        for claimed in claimed {
            if claimed.attempt > self.retry.max_attempts {
                let reason = "the process ended during every attempt".to_owned();
                self.counters.dead_lettered.one();
                let dead = Settlement::Dead { handled: claimed.handled.clone(), reason };
                if let Err(error) = within(self.inbox.settle(&claimed, dead, self.now())).await {
                    self.note("settle", &error);
                }
                continue;
            }
            let attempt = attempt(Arc::clone(&self.handlers), claimed.clone(), self.queue.handler_timeout);
            let id = running.spawn(attempt).id();
            leases.insert(id, claimed);
        }
        Ok(started)
    }

    /// Whether nothing is left that a drain waits for: everything, unless it survives us and is not due yet.
    async fn is_drained(&self, started: &Result<usize, ()>) -> bool {
        if self.inbox.is_durable() {
            return matches!(started, Ok(0) | Err(()));
        }
        !matches!(within(self.inbox.next_due()).await, Ok(Some(_)))
    }

    /// When to look again if nothing happens before.
    async fn next_look(&self, started: &Result<usize, ()>, running: usize, next_sweep: Instant) -> Instant {
        let now = Instant::now();
        let mut look = next_sweep;
        if running < self.queue.workers {
            match (started, within(self.inbox.next_due()).await) {
                (Ok(_), Ok(Some(due_at))) => {
                    let pause = due_at.saturating_sub(self.now()).max(1).unsigned_abs();
                    look = look.min(now + Duration::from_millis(pause).min(SWEEP));
                }
                (Ok(_), Ok(None)) => {}
                _ => look = look.min(now + self.queue.poll_interval),
            }
            if self.inbox.is_durable() {
                look = look.min(now + self.queue.poll_interval);
            }
        }
        look
    }

    async fn settle(&mut self, ended: Ended, leases: &mut HashMap<Id, Claimed>) {
        let (id, attempt) = match ended {
            Ok((id, attempt)) => (id, Some(attempt)),
            Err(error) => (error.id(), None),
        };
        let Some(claimed) = leases.remove(&id) else { return };
        let now = self.now();
        let settlement = match attempt {
            // Cut off by us; panics are caught within the attempt.
            None => Settlement::Release,
            Some(Attempt { failure: None, .. }) => Settlement::Done,
            Some(Attempt { handled, failure: Some(Failure { reason, permanent }) }) => {
                self.counters.failed_attempts.one();
                let pause = schedule::pause(&self.retry, claimed.attempt, self.rng.f64()).filter(|_| !permanent);
                match pause {
                    Some(pause) => {
                        tracing::warn!(
                            delivery_id = %claimed.id, attempt = claimed.attempt, retry_in = ?pause, reason = ?reason,
                            "webhook handler failed"
                        );
                        Settlement::Retry { due_at: now.saturating_add(millis(pause)), handled, reason }
                    }
                    None => {
                        tracing::error!(
                            delivery_id = %claimed.id, attempts = claimed.attempt, reason = ?reason,
                            "webhook delivery given up; replay its dead letter once the cause is cured"
                        );
                        Settlement::Dead { handled, reason }
                    }
                }
            }
        };
        let counter = match &settlement {
            Settlement::Done => Some(&self.counters.handled),
            Settlement::Dead { .. } => Some(&self.counters.dead_lettered),
            _ => None,
        };
        match within(self.inbox.settle(&claimed, settlement, now)).await {
            Ok(()) => {
                if let Some(counter) = counter {
                    counter.one();
                }
            }
            Err(error) => self.note("settle", &error),
        }
    }

    async fn sweep(&self) {
        match within(self.inbox.sweep(self.now())).await {
            Ok(swept) if swept.dropped_dead_letters > 0 => {
                self.counters.dropped_dead_letters.add(swept.dropped_dead_letters);
                tracing::error!(count = swept.dropped_dead_letters, "dead letters dropped; there were too many");
            }
            Ok(_) => {}
            Err(error) => self.note("sweep", &error),
        }
    }

    fn note(&self, operation: &'static str, error: &Error) {
        self.counters.store_errors.one();
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(operation, error = %error, cause, "the webhook inbox failed");
    }

    fn now(&self) -> i64 {
        unix_millis(self.clock.now())
    }
}

async fn within<T>(operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(PATIENCE, operation).await.unwrap_or_else(|elapsed| Err(Error::no_answer(elapsed)))
}
