//! A level behind its timeout and its breaker: whatever goes wrong there is a miss here.
//!
//! A delete that did not get through is not forgotten: it is kept (at most [`MAX_PENDING`]) and repeated before the
//! next operation, and until it got through the entries it names are not read. When there are more, the oldest is given
//! up, and the level is not read until all that it held by then has expired. So a level that was down while a value
//! changed does not come back with the old one.

mod deletion;

use std::{
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

use self::deletion::{Deletion, Unknown};
use super::{
    CacheLevel, Found, LevelConfig, LevelError, Write,
    breaker::{Breaker, Outcome, Permit},
    pending::{Pending, Target},
    remembered::DELETES_KEPT,
};
use crate::{
    entry::Entry,
    stats::{LevelCounters, LevelStats},
};

/// Deletes kept for a level that is down: those of about 3000 users, in about 3 MiB.
const MAX_PENDING: usize = 1 << 14;
/// Deletes repeated before one operation, so that no single caller pays for a long outage.
const REPAIRS_PER_CALL: usize = 32;

pub(crate) struct Guarded {
    level: Arc<dyn CacheLevel>,
    config: LevelConfig,
    breaker: Mutex<Breaker>,
    counters: LevelCounters,
    pending: Mutex<Pending>,
    has_pending: AtomicBool,
    /// Some of them nobody is at: they are to be repeated.
    is_behind: AtomicBool,
    /// When a delete was given up last.
    lost_at: Mutex<Option<Instant>>,
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
            is_behind: AtomicBool::new(false),
            lost_at: Mutex::default(),
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
        self.repair().await;
        if self.is_untrue() {
            self.counters.skipped.one();
            return None;
        }
        match self.run(self.level.get(key)).await {
            Ok(Some(found))
                if !found.remaining.is_zero() && !self.is_deleted(key, &found.entry) && !self.is_untrue() =>
            {
                Some(found)
            }
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
        self.repair().await;
        // A write that began before a delete that was given up: the level does not know that it must refuse it.
        let lost_at = *self.lost_at.lock();
        if write.as_of.is_some_and(|as_of| lost_at.is_some_and(|lost_at| as_of.at <= lost_at)) {
            return;
        }
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

    /// A delete to be run. Dropped before or while it runs, it is left to the operations that follow.
    pub(crate) fn deletion<'a>(&'a self, targets: &'a [Target]) -> Deletion<'a> {
        Deletion { guarded: self, left: targets.iter(), is_under_way: false }
    }

    /// Repeats deletes that did not get through: a portion, within one timeout, unless another caller is at it. Whether
    /// the level answered and there are more.
    pub(crate) async fn repair(&self) -> bool {
        if !self.is_behind.load(Ordering::Acquire) {
            return false;
        }
        let Ok(_turn) = self.repairing.try_lock() else { return false };
        // Out of time: the rest is for the next caller.
        timeout(self.config.timeout, self.repair_some()).await.unwrap_or(false)
    }

    async fn repair_some(&self) -> bool {
        for _ in 0..REPAIRS_PER_CALL {
            let Some((number, target)) = self.next_pending() else { return false };
            if self.delete_noted(number, &target).await.is_err() {
                return false;
            }
        }
        true
    }

    /// The one that was noted or tried longest ago. Noted anew, and so behind the others: one that never gets done in time
    /// must not stand before them.
    fn next_pending(&self) -> Option<(u64, Target)> {
        let mut pending = self.pending.lock();
        let Some((_, target)) = pending.first() else {
            self.is_behind.store(false, Ordering::Release);
            return None;
        };
        Some((pending.note(target.clone()), target))
    }

    async fn delete_noted(&self, number: u64, target: &Target) -> Result<(), Failed> {
        match target {
            Target::Key(key) => self.run(self.level.delete(key)).await?,
            Target::Tag(tag) => self.run(self.level.delete_tag(tag)).await?,
        }
        self.strike(number);
        Ok(())
    }

    /// Whether a delete that did not get through yet names this entry.
    fn is_deleted(&self, key: &str, entry: &Entry) -> bool {
        self.has_pending.load(Ordering::Acquire) && self.pending.lock().names(key, entry)
    }

    /// Whether it may hold what a delete that was given up named, or what another process read before that delete.
    fn is_untrue(&self) -> bool {
        let until_then = self.config.ttl.saturating_add(DELETES_KEPT);
        self.lost_at.lock().is_some_and(|lost_at| lost_at.elapsed() < until_then)
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
            up: self.breaker.lock().is_closed() && !self.is_untrue(),
            pending_deletes: u64::try_from(self.pending.lock().len()).unwrap_or(u64::MAX),
            ..self.counters.read(self.level.name())
        }
    }

    fn note(&self, target: Target) -> u64 {
        let mut pending = self.pending.lock();
        let number = pending.note(target);
        if pending.len() > MAX_PENDING
            && let Some((oldest, _)) = pending.first()
        {
            pending.strike(oldest);
            self.counters.lost_deletes.one();
            if self.lost_at.lock().replace(Instant::now()).is_none() {
                tracing::warn!(
                    level = self.level.name(),
                    "down for too many deletes: not read until all in it has expired"
                );
            }
        }
        self.has_pending.store(true, Ordering::Release);
        number
    }

    /// Under the lock of what is noted: who finds nothing there says under it as well that all is done.
    fn fall_behind(&self) {
        let _pending = self.pending.lock();
        self.is_behind.store(true, Ordering::Release);
    }

    fn strike(&self, number: u64) {
        let mut pending = self.pending.lock();
        let struck = pending.strike(number);
        self.has_pending.store(pending.len() > 0, Ordering::Release);
        drop(pending);
        let Some(target) = struck else { return };
        let mut repaired = self.repaired.lock();
        if repaired.len() < MAX_PENDING {
            repaired.push(target);
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

#[cfg(test)]
mod tests;
