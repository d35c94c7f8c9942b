use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use nudj_tower::{
    BoxError,
    credentials::{Credential, Credentials, Scheme},
};
use tokio::{sync::Mutex, time::sleep};

use super::{KeyRotator, SecretStore, StoredKeys};
use crate::error::wall_clock;

/// Replaces a key on demand and on a schedule; see the [module's page](super).
pub struct Rotation {
    credentials: Credentials,
    rotator: Arc<dyn KeyRotator>,
    store: Arc<dyn SecretStore>,
    every: Duration,
    one_at_a_time: Mutex<()>,
}

impl Rotation {
    /// Rotates what `credentials` send with, every 30 days once it [runs](Self::run). `credentials` should come from a
    /// [`StoredKey`](super::StoredKey) of the same store: `client.handles().credentials().clone()`.
    pub fn new(credentials: Credentials, rotator: Arc<dyn KeyRotator>, store: Arc<dyn SecretStore>) -> Self {
        let every = Duration::from_secs(30 * 24 * 60 * 60);
        Self { credentials, rotator, store, every, one_at_a_time: Mutex::new(()) }
    }

    /// How long a key is used. 30 days unless set.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// To call once at the start, before the first call: takes up both keys of a rotation that was stored, and makes again one that
    /// was begun and not stored.
    ///
    /// # Errors
    /// What the store or the rotator said. The client serves on with the key that is current.
    pub async fn resume(&self) -> Result<(), BoxError> {
        let keys = self.store.load().await?;
        if let Some(previous) = &keys.previous {
            self.credentials.rotate_to(&Credential::new(previous.clone()))?;
            self.credentials.rotate_to(&Credential::new(keys.current.clone()))?;
        }
        if keys.begun { self.rotate().await } else { Ok(()) }
    }

    /// Replaces the key now. A second call waits for the first, and then replaces the key once more.
    ///
    /// # Errors
    /// What the store or the rotator said, or that the new key cannot be one. The client serves on with the key that is current.
    pub async fn rotate(&self) -> Result<(), BoxError> {
        let _alone = self.one_at_a_time.lock().await;
        let keys = self.store.load().await?;
        self.store.store(StoredKeys { begun: true, ..keys.clone() }).await?;
        let new = self.rotator.rotate().await?;
        // Before it is stored, not when it is used: a key that cannot be sent must not become the current one.
        Scheme::Bearer.check(&new).map_err(|problem| format!("the key from {}: {problem}", self.rotator.name()))?;
        let stored = StoredKeys {
            current: new.clone(),
            previous: Some(keys.current),
            rotated_at: Some(wall_clock()),
            begun: false,
        };
        self.store.store(stored).await?;
        self.credentials.rotate_to(&Credential::new(new))?;
        tracing::info!(store = self.store.name(), rotator = self.rotator.name(), "key rotated");
        Ok(())
    }

    /// Rotates whenever the key is due, for as long as the future is polled. One whose age nobody noted is due at once. A rotation
    /// that fails is tried again after a minute, then after twice that, up to a day; the key there serves on.
    pub async fn run(&self) {
        let mut failures = 0u32;
        loop {
            let waited = match self.store.load().await {
                Ok(keys) => match due_in(&keys, self.every, wall_clock()) {
                    Duration::ZERO => self.rotate().await,
                    // Not longer than a day at once: the wall clock may be set meanwhile.
                    due => {
                        sleep(due.min(DAY)).await;
                        continue;
                    }
                },
                Err(error) => Err(error),
            };
            match waited {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(store = self.store.name(), %error, failures, "key not rotated; the one there serves on");
                    sleep(back_off(failures)).await;
                }
            }
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the key may still be used.
fn due_in(keys: &StoredKeys, every: Duration, now: SystemTime) -> Duration {
    match keys.rotated_at {
        Some(at) if !keys.begun => every.saturating_sub(now.duration_since(at).unwrap_or_default()),
        _ => Duration::ZERO,
    }
}

fn back_off(failures: u32) -> Duration {
    Duration::from_secs(60).saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(DAY)
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("store", &self.store.name())
            .field("rotator", &self.rotator.name())
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_when_it_is_old_or_of_unknown_age_or_half_rotated() {
        let now = SystemTime::UNIX_EPOCH + 100 * DAY;
        let keys = |days: u32, begun| StoredKeys {
            rotated_at: Some(SystemTime::UNIX_EPOCH + days * DAY),
            begun,
            ..StoredKeys::new("k".to_owned())
        };
        for (keys, expected) in [
            (keys(90, false), 20 * DAY),
            (keys(70, false), Duration::ZERO),
            (keys(10, false), Duration::ZERO),
            (keys(90, true), Duration::ZERO),
            // Noted by a clock that was ahead.
            (keys(200, false), 30 * DAY),
            (StoredKeys::new("k".to_owned()), Duration::ZERO),
        ] {
            assert_eq!(due_in(&keys, 30 * DAY, now), expected, "{keys:?}");
        }
    }

    #[test]
    fn failures_wait_from_a_minute_to_a_day() {
        assert_eq!(back_off(1), Duration::from_secs(60));
        assert_eq!(back_off(3), Duration::from_secs(240));
        assert_eq!(back_off(u32::MAX), DAY);
    }
}
