use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    config::Quota,
    gate::{Gate, Settings},
    keys::{KeyMap, Lease},
    limiter::Counts,
};
use crate::ConfigError;

/// Reads and drives a limiter without a call. A handle of a key keeps that key from eviction.
#[derive(Clone)]
pub struct RateLimitHandle {
    lease: Lease,
}

impl RateLimitHandle {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease }
    }

    fn settings(&self) -> &Settings {
        self.lease.gate().settings()
    }

    /// How many calls wait.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.lease.gate().read(|limiter| limiter.waiting())
    }

    /// How many calls would pass now without a wait; 0 during a pause and while others wait.
    #[must_use]
    pub fn available(&self) -> u32 {
        let now = self.settings().now();
        self.lease.gate().read(|limiter| limiter.available(now))
    }

    /// Takes quota for one call that is made past the layer, such as one by another client of the same account. `false` when there is none
    /// now, during a pause, and while others wait: it passes nobody. What was taken is gone, whatever becomes of that call.
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        let gate = self.lease.gate();
        gate.take(gate.settings().now()).is_some()
    }

    /// The end of the pause that a server asked for or [`pause`](Self::pause) began; `None` when there is none.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        let now = self.settings().now();
        let left = self.lease.gate().read(|limiter| limiter.pause_left(now));
        if left == 0 { None } else { self.settings().instant(now.saturating_add(left)) }
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lease.gate().counts()
    }

    /// Counts by another quota from now on. Calls let through so far count on, as far as the old quota needed to remember them.
    /// Those who wait keep their places; whoever can no longer pass in time is refused.
    ///
    /// GCRA remembers a full burst of the new quota at most. So a lowered quota lets the next call pass after one
    /// `window / max_requests` at the latest, and one that goes down and up again has forgotten what did not fit the lower one. By GCRA
    /// a call let through before a change gives nothing back when it turns out not to have been sent.
    ///
    /// # Errors
    /// A quota that no [`RateLimitConfig`](super::RateLimitConfig) may have.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.settings().check(quota)?;
        self.lease.gate().change(quota);
        Ok(())
    }

    /// Lets nobody pass for this long, or longer if a pause lasts longer. Not capped by `max_retry_after`.
    pub fn pause(&self, pause: Duration) {
        self.lease.gate().pause(pause);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.lease.gate().resume(self.settings().now());
    }
}

impl fmt::Debug for RateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitHandle")
            .field("queue_depth", &self.queue_depth())
            .field("available", &self.available())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// Reads and drives the limiters of all keys.
pub struct KeyedRateLimitHandle<K> {
    settings: Arc<Settings>,
    map: Arc<KeyMap<K>>,
}

impl<K: Eq + Hash + Send + Sync + 'static> KeyedRateLimitHandle<K> {
    pub(super) fn new(settings: Arc<Settings>, map: Arc<KeyMap<K>>) -> Self {
        Self { settings, map }
    }

    /// How many keys have a limiter of their own.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.map.len()
    }

    /// The handle of one key; `None` when it has no limiter of its own, now or no more. A quota that is set by it is the key's as long as
    /// it differs from that of all keys; meanwhile the key is kept, idle or not, and counts towards `max_keys`.
    #[must_use]
    pub fn of(&self, key: &K) -> Option<RateLimitHandle> {
        Some(RateLimitHandle::new(self.map.peek(key)?))
    }

    /// How many calls wait, over all keys. Walks over them.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        let mut depth = 0;
        self.map.each(|gate| depth += gate.read(|limiter| limiter.waiting()));
        depth
    }

    /// Counts by another quota, for the keys there are and for those to come. Walks over all keys.
    ///
    /// # Errors
    /// A quota that no [`RateLimitConfig`](super::RateLimitConfig) may have.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.settings.set_quota(quota)?;
        self.map.each(Gate::follow);
        Ok(())
    }

    /// Lets go all keys that are idle, and says how many those were. Needs no call: keys are bounded anyway; this gives memory
    /// back early.
    #[must_use = "the number is the only thing to see"]
    pub fn evict_idle(&self) -> usize {
        self.map.evict_idle()
    }
}

impl<K> Clone for KeyedRateLimitHandle<K> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), map: Arc::clone(&self.map) }
    }
}

impl<K> fmt::Debug for KeyedRateLimitHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitHandle").finish_non_exhaustive()
    }
}
