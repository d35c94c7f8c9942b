//! A limiter shared by all who ask it: the lock around it, what it lends past that, the clock it reads, the waking outside of the lock.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{
    allowance::Allowance,
    config::{Algorithm, Quota, RateLimitConfig},
    limiter::{Admission, Counts, Limiter},
    meter::{Grant, Nanos, nanos},
    patience::Patience,
    queue::Ticket,
    wakes::Wakes,
};
use crate::{ConfigError, clock};

/// What all keys of a layer share.
#[derive(Debug)]
pub(super) struct Settings {
    /// When time began.
    epoch: Instant,
    algorithm: Algorithm,
    patience: Patience,
    max_retry_after: Duration,
    /// Of keys that are yet to come.
    quota: Mutex<Quota>,
}

impl Settings {
    pub(super) fn new(config: &RateLimitConfig) -> Self {
        Self {
            epoch: Instant::now(),
            algorithm: config.algorithm,
            patience: Patience::new(config),
            max_retry_after: config.max_retry_after,
            quota: Mutex::new(config.quota()),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> Nanos {
        self.nanos(clock::read())
    }

    pub(super) fn instant(&self, at: Nanos) -> Option<Instant> {
        self.epoch.checked_add(Duration::from_nanos(at))
    }

    #[inline]
    pub(super) fn nanos(&self, at: Instant) -> Nanos {
        nanos(at.saturating_duration_since(self.epoch))
    }

    /// What a server may make us wait when it asks for `pause`.
    pub(super) fn cap(&self, pause: Duration) -> Duration {
        pause.min(self.max_retry_after)
    }

    /// # Errors
    /// As [`RateLimitConfig::validate`](RateLimitConfig::validate).
    pub(super) fn check(&self, quota: Quota) -> Result<(), ConfigError> {
        quota.validate(self.algorithm)
    }

    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.check(quota)?;
        *self.quota.lock() = quota;
        Ok(())
    }
}

/// One key's limiter.
#[derive(Debug)]
pub(super) struct Gate {
    settings: Arc<Settings>,
    limiter: Mutex<Limiter>,
    /// What the limiter has lent.
    allowance: Allowance,
}

/// A limiter that has lent nothing. Dropped, it lends what it can.
struct Locked<'g> {
    limiter: MutexGuard<'g, Limiter>,
    allowance: &'g Allowance,
}

impl Deref for Locked<'_> {
    type Target = Limiter;

    fn deref(&self) -> &Limiter {
        &self.limiter
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Limiter {
        &mut self.limiter
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(loan) = self.limiter.lend() {
            self.allowance.open(loan);
        }
    }
}

impl Gate {
    /// With `roomy` it takes all its memory now.
    pub(super) fn new(settings: &Arc<Settings>, roomy: bool) -> Self {
        Self::of(settings, Limiter::new(settings.algorithm, *settings.quota.lock(), roomy))
    }

    /// A gate that remembers what this one let through.
    pub(super) fn fork(&self) -> Self {
        Self::of(&self.settings, self.lock().fork())
    }

    fn of(settings: &Arc<Settings>, limiter: Limiter) -> Self {
        Self { settings: Arc::clone(settings), limiter: Mutex::new(limiter), allowance: Allowance::default() }
    }

    fn lock(&self) -> Locked<'_> {
        let mut limiter = self.limiter.lock();
        if limiter.has_lent() {
            limiter.settle(self.allowance.close());
        }
        Locked { limiter, allowance: &self.allowance }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes quota for one call, if there is some and nobody waits.
    #[inline]
    pub(super) fn take(&self, now: Nanos) -> Option<Grant> {
        match self.allowance.take(now) {
            Some(at) => Some(Grant::lent(at)),
            None => self.lock().take(now),
        }
    }

    pub(super) fn admit(&self, now: Nanos, deadline: Option<Nanos>, cx: &Context<'_>) -> Admission {
        self.advance_and(now, |limiter| limiter.admit(now, self.settings.patience, deadline, cx.waker()))
    }

    pub(super) fn check(&self, ticket: Ticket, now: Nanos, cx: &Context<'_>) -> Admission {
        {
            let mut limiter = self.lock();
            if !limiter.is_head(ticket) {
                return limiter.check(ticket, now, cx.waker());
            }
        }
        self.advance_and(now, |limiter| limiter.check(ticket, now, cx.waker()))
    }

    pub(super) fn leave(&self, ticket: Ticket, now: Nanos) {
        self.lock().leave(ticket, now);
        self.advance(now);
    }

    pub(super) fn give_back(&self, grant: Grant, now: Nanos) {
        self.lock().give_back(grant, now);
        self.advance(now);
    }

    /// Lets nobody pass for this long; whether that is longer than what was known.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        self.pause_from(self.settings.now(), pause)
    }

    fn pause_from(&self, now: Nanos, pause: Duration) -> bool {
        let until = now.saturating_add(nanos(pause));
        let mut limiter = self.lock();
        let longer = limiter.pause_left(now) < until.saturating_sub(now);
        let late = limiter.pause(until, now);
        drop(limiter);
        late.into_iter().for_each(Waker::wake);
        self.advance(now);
        longer
    }

    pub(super) fn resume(&self, now: Nanos) {
        self.lock().resume();
        self.advance(now);
    }

    /// Counts by another quota from now on.
    pub(super) fn change(&self, quota: Quota) {
        self.change_at(|| quota, || self.settings.now());
    }

    /// Counts by the quota that is for all keys. It is read with the limiter locked, so that of two who set one at a time the last who comes
    /// here leaves the one that holds.
    pub(super) fn follow(&self) {
        self.change_at(|| *self.settings.quota.lock(), || self.settings.now());
    }

    /// The clock is read once the loan was called in: what was taken of it was before.
    fn change_at(&self, quota: impl FnOnce() -> Quota, now: impl FnOnce() -> Nanos) {
        let (late, now) = {
            let mut limiter = self.lock();
            let now = now();
            (limiter.change(quota(), now), now)
        };
        late.into_iter().for_each(Waker::wake);
        self.advance(now);
    }

    pub(super) fn count_refusal(&self) {
        self.lock().count_refusal();
    }

    /// Whether a new gate would do the same from here on.
    pub(super) fn is_idle(&self, now: Nanos) -> bool {
        let limiter = self.lock();
        limiter.is_idle(now) && limiter.counts_by(*self.settings.quota.lock())
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Limiter) -> T) -> T {
        read(&self.lock())
    }

    pub(super) fn counts(&self) -> Counts {
        self.read(|limiter| limiter.counts)
    }

    fn advance(&self, now: Nanos) {
        self.advance_and(now, |_| ());
    }

    /// Serves those who wait, does `then`, and wakes outside of the lock.
    fn advance_and<T>(&self, now: Nanos, then: impl FnOnce(&mut Limiter) -> T) -> T {
        let mut wakes = Wakes::default();
        loop {
            let mut limiter = self.lock();
            limiter.advance(now, &mut wakes);
            if !wakes.more {
                let result = then(&mut limiter);
                drop(limiter);
                wakes.wake_all();
                return result;
            }
            drop(limiter);
            wakes.wake_all();
        }
    }
}

#[cfg(test)]
mod tests;
