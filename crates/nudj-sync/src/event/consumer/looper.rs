//! The task that claims events and starts workers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::worker::Work;

/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(60);

/// Between two reports to an observer.
const REPORT: Duration = Duration::from_secs(1);

/// What a consumer is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Claim nothing, and end by then.
    Draining(Instant),
}

pub(super) struct Looper {
    pub(super) work: Arc<Work>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Looper {
    /// Works until it is told to drain; when nobody is left who could tell, it drains without a deadline. Returns how many were cut off.
    pub(super) async fn run(mut self) -> u64 {
        // Beside the loop, since a bus may take its time; ends with it.
        let mut beside = JoinSet::new();
        let work = Arc::clone(&self.work);
        beside.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                work.sweep().await;
            }
        });
        if self.work.observed.is_on() {
            let work = Arc::clone(&self.work);
            beside.spawn(async move {
                loop {
                    work.tell().await;
                    tokio::time::sleep(REPORT).await;
                }
            });
        }
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let phase = *self.phase.borrow_and_update();
            if phase != Phase::Running || self.phase.has_changed().is_err() {
                break;
            }
            let free = self.work.config.workers.saturating_sub(running.len());
            let claimed = if free > 0 { self.claim(free).await } else { Vec::new() };
            // All that is free was used: there may be more.
            let wait_for_events = free > 0 && claimed.len() < free;
            for (claimed, since) in claimed {
                let work = Arc::clone(&self.work);
                running.spawn(async move { work.handle(claimed, since).await });
            }
            self.work.counters.in_flight.store(running.len() as u64, Relaxed);
            tokio::select! {
                Some(_) = running.join_next() => {}
                () = self.work.bus.changed(self.work.config.poll_interval), if wait_for_events => {}
                _ = self.phase.wait_for(|phase| *phase != Phase::Running) => {}
            }
        }
        let work = Arc::clone(&self.work);
        let cut_off = self.drain(running).await;
        beside.shutdown().await;
        if work.observed.is_on() {
            // A bus that does not answer must not hold up a shutdown.
            let _ = tokio::time::timeout(REPORT / 2, work.tell()).await;
        }
        cut_off
    }

    async fn claim(&mut self, free: usize) -> Vec<(crate::event::Claimed, Instant)> {
        // The lease began at the earliest now; counting from here, it never seems longer than it is.
        let since = Instant::now();
        let work = &self.work;
        let claim = work.within(work.bus.claim(free, work.config.lease));
        let claimed = tokio::select! {
            biased;
            claimed = claim => claimed,
            // A bus that does not answer must not hold up a shutdown. What this claim takes all the same comes again when its lease
            // has run out.
            () = is_over(&mut self.phase) => Ok(Vec::new()),
        };
        let claimed = claimed.unwrap_or_else(|error| {
            work.note("claim", &error);
            Vec::new()
        });
        claimed.into_iter().map(|claimed| (claimed, since)).collect()
    }

    async fn drain(mut self, mut running: JoinSet<()>) -> u64 {
        let mut cut = false;
        while !running.is_empty() {
            let deadline = match *self.phase.borrow_and_update() {
                Phase::Draining(deadline) if !cut => Some(deadline),
                _ => None,
            };
            tokio::select! {
                _ = running.join_next() => {}
                () = async { sleep_until(deadline.unwrap_or_else(Instant::now)).await }, if deadline.is_some() => {
                    // Workers give their events back, which takes the bus a moment.
                    cut = true;
                    self.work.stop.cut();
                }
                Ok(()) = self.phase.changed() => {}
            }
            self.work.counters.in_flight.store(running.len() as u64, Relaxed);
        }
        self.work.stop.cut_off()
    }
}

/// Returns when a shutdown's deadline has passed.
async fn is_over(phase: &mut watch::Receiver<Phase>) {
    match phase.wait_for(|phase| *phase != Phase::Running).await.map(|phase| *phase) {
        Ok(Phase::Draining(deadline)) => sleep_until(deadline).await,
        // Nobody is left who could tell.
        Ok(Phase::Running) | Err(_) => std::future::pending().await,
    }
}
