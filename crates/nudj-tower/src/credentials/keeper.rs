use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderName;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::{
    Credential, CredentialError, CredentialProvider, CredentialsConfig, Scheme, WeakCredentials, background,
    current::Current,
    generation::{AfterRefusal, Generation, after_refusal, valid},
    rest::Rest,
    single_flight::{Boarding, SingleFlight},
};
use crate::{ConfigError, observe::Observers};

pub(super) type Renewed = Result<Arc<Generation>, CredentialError>;

/// The current credential of one provider, shared by all who send with it. A clone is an `Arc` clone.
///
/// The first call starts a task that renews in the background; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Credentials(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) provider: Arc<dyn CredentialProvider>,
    pub(super) name: Arc<str>,
    scheme: Scheme,
    pub(super) config: CredentialsConfig,
    pub(super) observers: Observers,
    pub(super) current: Current,
    /// Tells the background renewal that there is another. By itself, so that it can be waited for without keeping the rest alive.
    pub(super) installed: Arc<Notify>,
    next: AtomicU64,
    flight: SingleFlight<Renewed>,
    pub(super) renewing: AtomicBool,
    /// How often somebody else's credential was put in, under the flight's lock: a fetch that began before knows none of it.
    pub(super) rotations: AtomicU64,
    pub(super) rest: Mutex<Rest>,
    /// Whether an accepted credential is news to `rest`.
    was_refused: AtomicBool,
}

/// What may be shown of a credential: anything but itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's name.
    pub provider: Arc<str>,
    /// How many credentials there have been; 0 before the first.
    pub generation: u64,
    /// Until the current one expires; `None` when it does not or there is none.
    pub expires_in: Option<Duration>,
    /// Whether a rotation still keeps the old one at hand.
    pub has_fallback: bool,
}

impl Credentials {
    /// Nothing is fetched before the first call.
    ///
    /// # Errors
    /// When `config` is out of range.
    pub fn new(
        provider: impl CredentialProvider,
        scheme: Scheme,
        config: CredentialsConfig,
    ) -> Result<Self, ConfigError> {
        Self::shared(Arc::new(provider), scheme, config, Observers::default())
    }

    /// As [`new`](Self::new), over a provider that is shared and telling `observers` of renewals.
    ///
    /// # Errors
    /// When `config` is out of range.
    pub fn shared(
        provider: Arc<dyn CredentialProvider>,
        scheme: Scheme,
        config: CredentialsConfig,
        observers: Observers,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Arc::new(Shared {
            name: provider.name().into(),
            provider,
            scheme,
            config,
            observers,
            current: Current::default(),
            installed: Arc::default(),
            next: AtomicU64::new(1),
            flight: SingleFlight::default(),
            renewing: AtomicBool::new(false),
            rotations: AtomicU64::new(0),
            rest: Mutex::new(Rest::new()),
            was_refused: AtomicBool::new(false),
        })))
    }

    /// Fetches now if there is no valid credential: to fail early, before the first call.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub async fn load(&self) -> Result<(), CredentialError> {
        let is_there = valid(self.0.current.load().as_ref()).is_some();
        if is_there { Ok(()) } else { self.renewed(None).await.map(drop) }
    }

    /// Fetches now, whatever there is. The one there stays until another has come.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub async fn renew(&self) -> Result<(), CredentialError> {
        let number = self.0.current.load().as_ref().map(|current| current.number);
        self.renewed(number).await.map(drop)
    }

    /// Uses `credential` from now on and keeps the one before at hand until an answer of 2xx has come to this one: the step of a rotation
    /// that comes after the new key was stored. Calls under way keep what they have.
    ///
    /// # Errors
    /// [`CredentialError::Unusable`]; the one there stays.
    pub fn rotate_to(&self, credential: &Credential) -> Result<(), CredentialError> {
        self.0.flight.between(|| {
            self.0.install(credential, true)?;
            self.0.rotations.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    /// These, without keeping them.
    #[must_use]
    pub fn downgrade(&self) -> WeakCredentials {
        WeakCredentials::of(&self.0)
    }

    /// What may be shown.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let current = self.0.current.load();
        Snapshot {
            provider: Arc::clone(&self.0.name),
            generation: current.as_ref().map_or(0, |current| current.number),
            expires_in: current
                .as_ref()
                .and_then(|current| current.expires)
                .map(|expires| expires.saturating_duration_since(Instant::now())),
            has_fallback: current.as_ref().is_some_and(|current| current.fallback.is_some()),
        }
    }

    /// As [`renew`](Self::renew), by a fetch that has yet to begin: one under way may have read the source before it changed.
    pub(super) async fn renew_anew(&self) -> Result<(), CredentialError> {
        if let Some(mut under_way) = self.0.flight.under_way() {
            // However it ends.
            let _ = under_way.wait_for(Option::is_some).await;
        }
        self.renew().await
    }

    #[inline]
    pub(super) fn header_name(&self) -> &HeaderName {
        self.0.scheme.header_name()
    }

    #[inline]
    pub(super) fn renews(&self) -> bool {
        self.0.provider.renews()
    }

    /// One that was put in by a rotation, or outlived the runtime it came in, has nobody yet who renews it early.
    #[inline]
    pub(super) fn keep_renewing(&self, generation: &Generation) {
        if generation.expires.is_some() {
            self.0.keep_renewing();
        }
    }

    /// Whether a refusal can be helped at all.
    pub(super) fn can_replay(&self) -> bool {
        self.renews() || self.0.current.load().as_ref().is_some_and(|current| current.fallback.is_some())
    }

    /// What there is to send with.
    #[inline]
    pub(super) fn current(&self) -> &Current {
        &self.0.current
    }

    /// A generation was accepted: the one before it need not be kept.
    pub(super) fn accepted(&self, generation: &Arc<Generation>) {
        if self.0.was_refused.load(Ordering::Relaxed) {
            let mut rest = self.0.rest.lock();
            rest.accepted();
            self.0.was_refused.store(false, Ordering::Relaxed);
        }
        if generation.fallback.is_none() {
            return;
        }
        let proven = Arc::new(Generation {
            number: generation.number,
            value: generation.value.clone(),
            expires: generation.expires,
            fallback: None,
        });
        self.0.current.replace(proven.number, &proven);
    }

    /// What to replay with after `refused` was answered 401.
    pub(super) async fn after_refusal(self, refused: u64) -> Renewed {
        // Its own statement: what it looks at must not be held while another credential is fetched.
        let after = after_refusal(self.0.current.load().as_ref(), refused, Instant::now());
        match after {
            AfterRefusal::Use(newer) => Ok(newer),
            AfterRefusal::FallBack(old) => {
                tracing::warn!(provider = %self.0.name, "the rotated credential was refused; the one before serves on");
                self.0.current.replace(refused, &old);
                Ok(old)
            }
            // A fetch would bring what there was before any rotation.
            AfterRefusal::Renew if !self.renews() => Err(self.0.unusable("it was refused, and no other is to be had")),
            AfterRefusal::Renew => {
                let grounded = || {
                    let mut rest = self.0.rest.lock();
                    let may = rest.may_renew(&self.0.config, Instant::now());
                    self.0.was_refused.store(true, Ordering::Relaxed);
                    (!may).then(|| self.0.unusable("another was refused a moment ago"))
                };
                self.flown(Some(refused), grounded).await
            }
        }
    }

    /// A credential for a call that has none.
    pub(super) async fn first(self) -> Renewed {
        self.flown(None, || self.0.rest.lock().error(Instant::now())).await
    }

    /// A credential other than number `stale`: joins the renewal under way or starts one.
    pub(super) async fn renewed(&self, stale: Option<u64>) -> Renewed {
        self.flown(stale, || None).await
    }

    /// As [`renewed`](Self::renewed); starts none where `grounded` says why not.
    async fn flown(&self, stale: Option<u64>, grounded: impl FnOnce() -> Option<CredentialError>) -> Renewed {
        self.0.keep_renewing();
        let newer = || {
            self.0
                .current
                .load_full()
                .filter(|current| stale.is_none_or(|stale| current.number != stale) && current.is_valid(Instant::now))
        };
        let mut end = match self.0.flight.board(newer, grounded) {
            Ok(newer) => return Ok(newer),
            Err(Boarding::NotNow(error)) => return Err(error),
            Err(Boarding::Joined(end)) => end,
            Err(Boarding::First(sender, end)) => {
                // A task of its own, so that it outlives the call that wanted it.
                let shared = Arc::clone(&self.0);
                let rotations = shared.rotations.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let fetched = shared.fetch().await;
                    let renewed = shared.flight.land(&sender, || shared.take_in(fetched, rotations));
                    shared.tell(&renewed);
                });
                end
            }
        };
        match end.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(self.0.unusable("the fetch ended without a result"))),
            Err(_) => Err(self.0.unusable("the fetch was cut off")),
        }
    }
}

impl Shared {
    pub(super) fn install(&self, credential: &Credential, keep_old: bool) -> Renewed {
        let value = self.scheme.header_value(credential.secret()).map_err(|problem| self.unusable(problem))?;
        let old = self.current.load_full().filter(|old| keep_old && old.is_valid(Instant::now));
        let new = Arc::new(Generation {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            value,
            expires: credential.lifetime().and_then(|lifetime| Instant::now().checked_add(lifetime)),
            fallback: old.map(|old| match &old.fallback {
                // Two rotations before the first was accepted: the last one that worked is the one to keep.
                Some(proven) => Arc::clone(proven),
                None => old,
            }),
        });
        self.current.store(Arc::clone(&new));
        self.installed.notify_one();
        Ok(new)
    }

    pub(super) fn unusable(&self, problem: &'static str) -> CredentialError {
        CredentialError::Unusable { provider: Arc::clone(&self.name), problem }
    }

    /// Starts the background renewal, once, where there is a runtime to run it.
    fn keep_renewing(self: &Arc<Self>) {
        if !self.renewing.load(Ordering::Relaxed)
            && self.provider.renews()
            && let Ok(runtime) = Handle::try_current()
            && !self.renewing.swap(true, Ordering::Relaxed)
        {
            runtime.spawn(background::renew(self));
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.snapshot()).finish()
    }
}
