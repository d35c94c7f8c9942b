//! A level behind its timeout and its breaker: whatever goes wrong there is a miss here.
//!
//! A delete that did not get through is not forgotten: it is kept (at most [`MAX_PENDING`]) and repeated before the
//! next operation, and until it got through the entries it names are not read. So a level that was down while a
//! value changed does not come back with the old one.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    CacheLevel, Found, LevelConfig, LevelError, Write,
    breaker::{Breaker, Outcome, Permit},
};
use crate::{
    entry::Entry,
    stats::{LevelCounters, LevelStats},
};

/// Deletes kept for a level that is down. Beyond it the oldest is given up and counted; its entry lives to its TTL.
const MAX_PENDING: usize = 1024;
/// Deletes repeated before one operation, so that no single caller pays for a long outage.
const REPAIRS_PER_CALL: usize = 32;

/// What a delete names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Box<str>),
    Tag(Box<str>),
}

pub(crate) struct Guarded {
    level: Arc<dyn CacheLevel>,
    config: LevelConfig,
    breaker: Mutex<Breaker>,
    counters: LevelCounters,
    pending: Mutex<VecDeque<Target>>,
    has_pending: AtomicBool,
    /// Held by the one caller that repeats deletes.
    repairing: tokio::sync::Mutex<()>,
    /// Deletes that got through late; the other processes must hear of them.
    repaired: Mutex<Vec<Target>>,
    has_repaired: AtomicBool,
}

impl Guarded {
    pub(crate) fn new(level: Arc<dyn CacheLevel>, config: LevelConfig) -> Self {
        Self {
            level,
            breaker: Mutex::new(Breaker::new(config.failure_threshold, config.open_for)),
            config,
            counters: LevelCounters::default(),
            pending: Mutex::default(),
            has_pending: AtomicBool::new(false),
            repairing: tokio::sync::Mutex::new(()),
            repaired: Mutex::default(),
            has_repaired: AtomicBool::new(false),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.config.ttl
    }

    /// `None` is a miss, whatever the reason.
    pub(crate) async fn get(&self, key: &str) -> Option<Found> {
        self.repair(false).await;
        match self.run(self.level.get(key)).await {
            Ok(Some(found)) if !found.remaining.is_zero() && !self.is_deleted(key, &found.entry) => Some(found),
            Ok(_) => {
                self.counters.misses.one();
                None
            }
            Err(Failed::Unreadable) => {
                self.unreadable();
                None
            }
            Err(Failed::NotTried | Failed::Unknown) => None,
        }
    }

    pub(crate) fn hit(&self) {
        self.counters.hits.one();
    }

    pub(crate) fn unreadable(&self) {
        self.counters.unreadable.one();
        self.counters.misses.one();
    }

    pub(crate) async fn set(&self, key: &str, entry: &Entry, write: Write) {
        // The TTL begins when the write arrives: without what it may take, the value could outlive it.
        let ttl = write.ttl.saturating_sub(self.config.timeout);
        if ttl.is_zero() {
            return;
        }
        self.repair(false).await;
        // A write whose end is not known may still arrive, after a delete that it must not survive, or long after its
        // TTL began. It is undone.
        let mut unknown = Unknown { guarded: self, key, armed: true };
        // The level compares by its own clock, to which the write is under way for up to the timeout.
        let as_of = write.as_of.map(|as_of| as_of.earlier(self.config.timeout));
        match self.run(self.level.set(key, entry, Write { ttl, as_of })).await {
            Ok(()) | Err(Failed::NotTried) => unknown.armed = false,
            Err(Failed::Unreadable | Failed::Unknown) => {}
        }
    }

    /// Deletes now, within one timeout, or as soon as the level answers again.
    pub(crate) async fn delete(&self, targets: &[Target]) {
        // First noted, then done, then struck off: a caller that leaves in between loses nothing.
        for target in targets {
            self.note(target.clone());
        }
        self.repair(true).await;
    }

    /// Repeats deletes that did not get through, within one timeout. `wait`: also when another caller is at it.
    pub(crate) async fn repair(&self, wait: bool) {
        if self.has_pending.load(Ordering::Acquire) {
            // Out of time: the rest is for the next caller.
            let _ = timeout(self.config.timeout, self.repair_some(wait)).await;
        }
    }

    async fn repair_some(&self, wait: bool) {
        let _turn = match self.repairing.try_lock() {
            Ok(turn) => turn,
            Err(_) if wait => self.repairing.lock().await,
            Err(_) => return,
        };
        for _ in 0..REPAIRS_PER_CALL {
            let Some(target) = self.pending.lock().front().cloned() else { return };
            let done = match &target {
                Target::Key(key) => self.run(self.level.delete(key)).await,
                Target::Tag(tag) => self.run(self.level.delete_tag(tag)).await,
            };
            if done.is_err() {
                return;
            }
            self.strike(&target);
        }
    }

    /// Whether a delete that did not get through yet names this entry.
    fn is_deleted(&self, key: &str, entry: &Entry) -> bool {
        self.has_pending.load(Ordering::Acquire)
            && self.pending.lock().iter().any(|target| match target {
                Target::Key(deleted) => **deleted == *key,
                Target::Tag(deleted) => **deleted == *key || entry.tags().any(|tag| *tag == **deleted),
            })
    }

    /// Deletes that got through since the last question.
    pub(crate) fn take_repaired(&self) -> Vec<Target> {
        if !self.has_repaired.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.repaired.lock())
    }

    pub(crate) fn stats(&self) -> LevelStats {
        let usage = self.level.usage();
        LevelStats {
            entries: usage.entries,
            bytes: usage.bytes,
            up: self.breaker.lock().is_closed(),
            pending_deletes: u64::try_from(self.pending.lock().len()).unwrap_or(u64::MAX),
            ..self.counters.read(self.level.name())
        }
    }

    fn note(&self, target: Target) {
        let mut pending = self.pending.lock();
        if pending.contains(&target) {
            return;
        }
        if pending.len() >= MAX_PENDING {
            pending.pop_front();
            self.counters.lost_deletes.one();
        }
        pending.push_back(target);
        self.has_pending.store(true, Ordering::Release);
    }

    fn strike(&self, target: &Target) {
        let mut pending = self.pending.lock();
        // Only if it is still first: it may have been given up for newer ones meanwhile.
        if pending.front() == Some(target) {
            pending.pop_front();
        }
        self.has_pending.store(!pending.is_empty(), Ordering::Release);
        drop(pending);
        let mut repaired = self.repaired.lock();
        if repaired.len() < MAX_PENDING {
            repaired.push(target.clone());
        }
        self.has_repaired.store(true, Ordering::Release);
    }

    /// Runs one operation, bounded and counted.
    async fn run<T>(&self, operation: impl Future<Output = Result<T, LevelError>>) -> Result<T, Failed> {
        let Some(permit) = self.breaker.lock().admit(Instant::now()) else {
            self.counters.skipped.one();
            return Err(Failed::NotTried);
        };
        let mut guard = Guard { breaker: &self.breaker, permit, outcome: Outcome::Dropped };
        match timeout(self.config.timeout, operation).await {
            Ok(Ok(value)) => {
                guard.outcome = Outcome::Answered;
                Ok(value)
            }
            Ok(Err(LevelError::Unreadable)) => {
                guard.outcome = Outcome::Answered;
                Err(Failed::Unreadable)
            }
            Ok(Err(error @ LevelError::Backend(_))) => {
                guard.outcome = Outcome::Failed;
                self.counters.errors.one();
                let error = &error as &dyn std::error::Error;
                tracing::debug!(level = self.level.name(), error, "cache level failed");
                Err(Failed::Unknown)
            }
            Err(_elapsed) => {
                guard.outcome = Outcome::Failed;
                self.counters.timeouts.one();
                tracing::debug!(level = self.level.name(), "cache level timed out");
                Err(Failed::Unknown)
            }
        }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

enum Failed {
    /// The breaker is open.
    NotTried,
    Unreadable,
    /// It failed or took too long: what it did is not known.
    Unknown,
}

struct Guard<'a> {
    breaker: &'a Mutex<Breaker>,
    permit: Permit,
    outcome: Outcome,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.breaker.lock().settle(self.permit, self.outcome, Instant::now());
    }
}

/// Notes a delete for a write that was dropped, failed or timed out.
struct Unknown<'a> {
    guarded: &'a Guarded,
    key: &'a str,
    armed: bool,
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.guarded.note(Target::Key(self.key.into()));
        }
    }
}

#[cfg(test)]
mod tests;
