use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use nudj_tower::{
    BoxError,
    classify::find_in_chain,
    credentials::{Credential, CredentialError, Credentials, Scheme},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{KeyRotator, Revision, RotationError, SecretStore, StoredKeys};
use crate::{
    Error, ErrorKind,
    error::{new_uuid, wall_clock},
};

/// Replaces a key on demand and on a schedule; see the [module's page](super).
pub struct Rotation {
    steps: Arc<Steps>,
    every: Duration,
}

struct Steps {
    credentials: Credentials,
    rotator: Arc<dyn KeyRotator>,
    store: Arc<dyn SecretStore>,
    /// One rotation at a time, and the key that one before could not store.
    made: Mutex<Option<Made>>,
}

/// A key that the server made and that is not stored yet.
struct Made {
    key: SecretString,
    replaces: SecretString,
}

impl Rotation {
    /// Rotates what `credentials` send with, every 30 days once it [runs](Self::run). `credentials` should come from a
    /// [`StoredKey`](super::StoredKey) of the same store: `client.handles().credentials().clone()`.
    pub fn new(credentials: Credentials, rotator: Arc<dyn KeyRotator>, store: Arc<dyn SecretStore>) -> Self {
        let steps = Steps { credentials, rotator, store, made: Mutex::new(None) };
        Self { steps: Arc::new(steps), every: Duration::from_secs(30 * 24 * 60 * 60) }
    }

    /// How long a key is used. 30 days unless set; at least a minute, whatever is set.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every.max(MINUTE);
        self
    }

    /// To call once at the start, before the first call: takes up both keys of a rotation that was stored, and makes again one that
    /// was begun and not stored.
    ///
    /// # Errors
    /// [`RotationError`]. The client serves on with the key that is current, but for [`RotationError::KeyLost`], where there is none.
    pub async fn resume(&self) -> Result<(), RotationError> {
        let steps = &self.steps;
        let keys = steps.load().await?;
        if let Some(previous) = &keys.previous {
            steps.use_key(previous)?;
            steps.use_key(&keys.current)?;
        }
        if keys.begun.is_some() { self.rotate().await } else { Ok(()) }
    }

    /// Replaces the key now. A second call waits for the first, and then replaces the key once more. Must be called within a Tokio
    /// runtime: the steps run in a task of their own, and go on when this future is dropped.
    ///
    /// # Errors
    /// [`RotationError`]. The client serves on with the key that is current.
    pub async fn rotate(&self) -> Result<(), RotationError> {
        let steps = Arc::clone(&self.steps);
        tokio::spawn(async move { steps.rotate().await }).await.unwrap_or(Err(RotationError::CutOff))
    }

    /// Rotates whenever the key is due, for as long as the future is polled. One whose age nobody noted is due at once. A rotation
    /// that fails is tried again after a minute, then after twice that, up to a day; the key there serves on. Whatever the store makes
    /// of the time a key was made, none that this call has made is replaced sooner than it should.
    pub async fn run(&self) {
        let mut failures = 0u32;
        let mut rotated_at = None;
        // The key there is, and since when.
        let mut seen: Option<(SecretString, Instant)> = None;
        loop {
            let done = match self.steps.load().await {
                Ok(keys) => {
                    let known = seen.take().filter(|(key, _)| is_same(key, &keys.current));
                    let (_, since) = seen.insert(known.unwrap_or_else(|| (keys.current.clone(), Instant::now())));
                    match due_in(&keys, rotated_at, self.every, wall_clock(), since.elapsed()) {
                        Duration::ZERO => self.rotate().await,
                        // Not longer than a day at once: the wall clock may be set meanwhile.
                        due => {
                            failures = 0;
                            sleep(due.min(DAY)).await;
                            continue;
                        }
                    }
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {
                    failures = 0;
                    seen = None;
                    rotated_at = Some(wall_clock());
                    sleep(MINUTE).await;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(store = self.steps.store.name(), %error, failures, "key not rotated; the one there serves on");
                    sleep(back_off(failures)).await;
                }
            }
        }
    }
}

impl Steps {
    async fn rotate(&self) -> Result<(), RotationError> {
        let mut made = self.made.lock().await;
        let keys = self.load().await?;
        if made.as_ref().is_some_and(|made| is_same(&made.key, &keys.current)) {
            // It was stored after all: the answer was lost.
            *made = None;
            return self.use_key(&keys.current);
        }
        let was_begun = keys.begun.is_some();
        let (name, revision) = match &keys.begun {
            Some(name) => (name.clone(), keys.revision.clone()),
            None => {
                let name = new_uuid().to_string();
                let noted = StoredKeys { begun: Some(name.clone()), ..keys.clone() };
                (name, self.write(noted).await?)
            }
        };
        // It stays kept until it is stored, whatever fails before.
        let new = match made.as_ref().filter(|made| is_same(&made.replaces, &keys.current)) {
            Some(made) => made.key.clone(),
            None => self.ask(&name, was_begun).await?,
        };
        let stored = StoredKeys {
            current: new.clone(),
            previous: Some(keys.current.clone()),
            rotated_at: Some(wall_clock()),
            begun: None,
            revision,
        };
        if let Err(error) = self.write(stored).await {
            *made = Some(Made { key: new, replaces: keys.current });
            return Err(error);
        }
        *made = None;
        self.use_key(&new)?;
        tracing::info!(store = self.store.name(), rotator = self.rotator.name(), "key rotated");
        Ok(())
    }

    async fn ask(&self, name: &str, was_begun: bool) -> Result<SecretString, RotationError> {
        let new = self.rotator.rotate(name).await.map_err(|source| {
            if was_begun && is_refused(&source) {
                RotationError::KeyLost { store: self.store.name().to_owned(), source }
            } else {
                RotationError::Rotator { rotator: self.rotator.name().to_owned(), source }
            }
        })?;
        // Before it is stored, not when it is used: a key that cannot be sent must not become the current one.
        Scheme::Bearer
            .check(&new)
            .map_err(|problem| RotationError::Unusable { rotator: self.rotator.name().to_owned(), problem })?;
        Ok(new)
    }

    async fn load(&self) -> Result<StoredKeys, RotationError> {
        self.store.load().await.map_err(|source| self.failed("read", source))
    }

    async fn write(&self, keys: StoredKeys) -> Result<Revision, RotationError> {
        self.store.store(keys).await.map_err(|source| self.failed("written", source))
    }

    fn failed(&self, tried: &'static str, source: BoxError) -> RotationError {
        RotationError::Store { store: self.store.name().to_owned(), tried, source }
    }

    fn use_key(&self, key: &SecretString) -> Result<(), RotationError> {
        self.credentials
            .rotate_to(&Credential::new(key.clone()))
            .map_err(|source| RotationError::Keys { store: self.store.name().to_owned(), source })
    }
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// Whether the server refused the key. One that could not be had at all, as when the store is away, may still be good.
fn is_refused(error: &BoxError) -> bool {
    find_in_chain::<Error>(&**error).is_some_and(|error| {
        matches!(error.kind(), ErrorKind::Auth { .. })
            && error.status() == Some(StatusCode::UNAUTHORIZED)
            && find_in_chain::<CredentialError>(error).is_none()
    })
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the key may still be used. It is as young as the store says, or as this process knows, and no younger than it was `seen` for:
/// a clock that was ahead may have noted a time that is still to come.
fn due_in(
    keys: &StoredKeys,
    rotated_at: Option<SystemTime>,
    every: Duration,
    now: SystemTime,
    seen: Duration,
) -> Duration {
    match keys.rotated_at.max(rotated_at) {
        Some(at) if keys.begun.is_none() => every.saturating_sub(now.duration_since(at).unwrap_or_default().max(seen)),
        _ => Duration::ZERO,
    }
}

fn back_off(failures: u32) -> Duration {
    MINUTE.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(DAY)
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("store", &self.steps.store.name())
            .field("rotator", &self.steps.rotator.name())
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
            begun: Some("a rotation".to_owned()).filter(|_| begun),
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
            assert_eq!(due_in(&keys, None, 30 * DAY, now, Duration::ZERO), expected, "{keys:?}");
        }
        assert_eq!(due_in(&keys(200, false), None, 30 * DAY, now, 7 * DAY), 23 * DAY, "seen for a week");
        assert_eq!(due_in(&keys(90, false), None, 30 * DAY, now, 7 * DAY), 20 * DAY, "and older than that");
        let known = Some(SystemTime::UNIX_EPOCH + 95 * DAY);
        assert_eq!(
            due_in(&StoredKeys::new("k".to_owned()), known, 30 * DAY, now, Duration::ZERO),
            25 * DAY,
            "the store forgot it"
        );
        assert_eq!(
            due_in(&keys(10, false), known, 30 * DAY, now, Duration::ZERO),
            25 * DAY,
            "the store holds on to an old one"
        );
        assert_eq!(due_in(&keys(98, false), known, 30 * DAY, now, Duration::ZERO), 28 * DAY);
    }

    #[test]
    fn failures_wait_from_a_minute_to_a_day() {
        assert_eq!(back_off(1), Duration::from_secs(60));
        assert_eq!(back_off(3), Duration::from_secs(240));
        assert_eq!(back_off(u32::MAX), DAY);
    }
}
