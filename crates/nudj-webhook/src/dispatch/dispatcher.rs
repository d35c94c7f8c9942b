//! The task that gives deliveries to their handlers.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::handler::Handlers;
use super::work::{PATIENCE, Progress, Work, note, within};
use crate::counters::Counters;
use crate::inbox::{Claimed, Inbox};
use crate::wall_clock::{WallClock, unix_millis};
use crate::{QueueConfig, RetryConfig};

/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(60);

/// After the deadline, for an inbox that is being asked in this moment: what it gives out must be given back.
const LAST_ANSWER: Duration = Duration::from_millis(150);

/// How long handlers that were dropped may take to be gone. One that blocks its thread never is.
const DROPPING: Duration = Duration::from_millis(50);

/// How long the inbox may take to note what was cut off; with the two above within the grace that the receiver gives
/// after its deadline.
const NOTING: Duration = Duration::from_millis(700);

/// A lease outlasts the handlers by this: time for the claim to be answered, as long as that is waited for, and to note how
/// they ended.
const LEASE_MARGIN: Duration = PATIENCE;

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

/// The deliveries in their handlers' hands.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    works: HashMap<Id, Work>,
}

impl Running {
    fn start(&mut self, work: Work) {
        let id = self.tasks.spawn(work.clone().run()).id();
        self.works.insert(id, work);
    }

    /// Waits for one to end; `None` when there is none. Gives the work of one whose task did not get to its end.
    async fn next(&mut self) -> Option<Option<Work>> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        Some(self.works.remove(&id).filter(|_| ended.is_err()))
    }
}

impl Dispatcher {
    /// Works until it is told to drain; when nobody is left who could tell, it drains without a deadline. Returns how many
    /// attempts were cut off.
    pub(crate) async fn run(mut self) -> u64 {
        let mut running = Running::default();
        let overdue = overdue(self.phase.clone());
        tokio::select! {
            biased;
            () = self.work_until_drained(&mut running) => {}
            () = overdue => tracing::error!("the webhook inbox hung at the deadline"),
        }
        if !self.inbox.is_durable() {
            // Nobody handles what would still be recorded.
            self.inbox.close();
        }
        running.tasks.abort_all();
        let mut left = Vec::new();
        let dropped = async {
            while let Some(cut_off) = running.next().await {
                left.extend(cut_off);
            }
        };
        let _ = timeout(DROPPING, dropped).await;
        // Those that are still there go on as they like, so only their lease can end them.
        let cut_off = left.iter().chain(running.works.values()).filter(|work| !work.has_ended()).count();
        // All at the same time, and not for long: who drains is told in any case.
        let noted = join_all(left.into_iter().map(Work::cut_off));
        if timeout(NOTING, noted).await.is_err() {
            tracing::error!("the webhook inbox did not take what was cut off; its handlers are called again");
        }
        cut_off as u64
    }

    /// Ends at the deadline as well, as soon as the inbox has answered.
    async fn work_until_drained(&mut self, running: &mut Running) {
        let mut next_sweep = Instant::now() + SWEEP;
        loop {
            let phase = *self.phase.borrow_and_update();
            let orphaned = self.phase.has_changed().is_err();
            if let Phase::Draining(deadline) = phase
                && Instant::now() >= deadline
            {
                return;
            }
            let started = self.start_due(running).await;
            let ending = orphaned || matches!(phase, Phase::Draining(_));
            if running.tasks.is_empty() && ending && self.is_drained(&started).await {
                return;
            }
            let wait = self.next_look(&started, running.tasks.len(), next_sweep).await;
            let deadline = match phase {
                Phase::Draining(deadline) => wait.min(deadline),
                Phase::Running | Phase::Closed => wait,
            };
            tokio::select! {
                Some(unfinished) = running.next() => {
                    // Panics of handlers are caught within; whatever this was, its delivery is not to wait for its lease.
                    if let Some(work) = unfinished {
                        work.panicked().await;
                    }
                }
                () = self.wake.notified(), if running.tasks.len() < self.queue.workers => {}
                () = self.inbox.recorded(), if running.tasks.len() < self.queue.workers => {}
                changed = self.phase.changed(), if !orphaned => drop(changed),
                () = sleep_until(deadline) => {}
            }
            if Instant::now() >= next_sweep {
                next_sweep = Instant::now() + SWEEP;
                self.sweep().await;
            }
        }
    }

    /// Starts what is due, as far as there are workers; the number started.
    async fn start_due(&mut self, running: &mut Running) -> Result<usize, ()> {
        let free = self.queue.workers.saturating_sub(running.tasks.len());
        if free == 0 {
            return Ok(0);
        }
        // All handlers of a delivery run at the same time, so one time-out bounds them all.
        let lease = self.queue.handler_timeout.saturating_add(LEASE_MARGIN);
        // From before it was asked for, so that it is over here before it is there.
        let lease_ends = Instant::now() + lease;
        let claimed = match within(self.inbox.claim(free, self.now(), lease)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                note(&self.counters, "claim", &error);
                return Err(());
            }
        };
        let started = claimed.len();
        for claimed in claimed {
            running.start(self.work(claimed, lease_ends));
        }
        Ok(started)
    }

    fn work(&mut self, claimed: Claimed, lease_ends: Instant) -> Work {
        Work {
            inbox: Arc::clone(&self.inbox),
            handlers: Arc::clone(&self.handlers),
            limit: self.queue.handler_timeout,
            retry: self.retry.clone(),
            clock: Arc::clone(&self.clock),
            counters: Arc::clone(&self.counters),
            rng: self.rng.fork(),
            progress: Arc::new(Progress::new(claimed.handled.clone())),
            claimed,
            lease_ends,
        }
    }

    /// Whether nothing is left that a drain waits for: everything, unless it survives us and is not due yet.
    async fn is_drained(&self, started: &Result<usize, ()>) -> bool {
        if self.inbox.is_durable() {
            return matches!(started, Ok(0) | Err(()));
        }
        !matches!(within(self.inbox.next_due()).await, Ok(Some(_))) && self.inbox.close_if_idle()
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

    async fn sweep(&self) {
        match within(self.inbox.sweep(self.now())).await {
            Ok(swept) if swept.dropped_dead_letters > 0 => {
                self.counters.dropped_dead_letters.add(swept.dropped_dead_letters);
                tracing::error!(count = swept.dropped_dead_letters, "dead letters dropped; there were too many");
            }
            Ok(_) => {}
            Err(error) => note(&self.counters, "sweep", &error),
        }
    }

    fn now(&self) -> i64 {
        unix_millis(self.clock.now())
    }
}

/// Ends when the deadline of a drain has passed and an answer of the inbox should have come.
async fn overdue(mut phase: watch::Receiver<Phase>) {
    loop {
        let ends = match *phase.borrow_and_update() {
            Phase::Draining(deadline) => Some(deadline + LAST_ANSWER),
            Phase::Running | Phase::Closed => None,
        };
        let passed = async {
            match ends {
                Some(ends) => sleep_until(ends).await,
                None => std::future::pending().await,
            }
        };
        let mut passed = pin!(passed);
        // Whoever drains may give another deadline.
        let changed = tokio::select! {
            () = &mut passed => return,
            changed = phase.changed() => changed,
        };
        if changed.is_err() {
            // Nobody is left who could.
            return passed.await;
        }
    }
}
