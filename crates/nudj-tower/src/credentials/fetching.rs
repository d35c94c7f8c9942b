//! One fetch from the provider, and what becomes of what it brings.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use tokio::time::{Instant, timeout};

use super::{
    Credential, CredentialError,
    keeper::{Renewed, Shared},
};
use crate::observe::Event;

impl Shared {
    /// The provider's panic is a failure like another, so that it is told, and rested from.
    pub(super) async fn fetch(&self) -> Result<Credential, CredentialError> {
        let mut fetch = pin!(async { self.provider.fetch().await });
        let fetched = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(cx)));
            polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
        });
        match timeout(self.config.fetch_timeout, fetched).await {
            Ok(Some(Ok(credential))) => Ok(credential),
            Ok(Some(Err(error))) => Err(CredentialError::fetch(&self.name, error)),
            Ok(None) => Err(self.unusable("the provider panicked; see what it said")),
            Err(_) => Err(CredentialError::Timeout { provider: Arc::clone(&self.name) }),
        }
    }

    /// What was fetched becomes the current one, unless a rotation came since: the source may have answered with the key of before.
    pub(super) fn take_in(&self, fetched: Result<Credential, CredentialError>, rotations: u64) -> Renewed {
        if rotations != self.rotations.load(Ordering::Relaxed)
            && let Some(rotated) = self.current.load_full()
        {
            return Ok(rotated);
        }
        let taken = fetched.and_then(|credential| self.take(&credential));
        self.rest.lock().fetched(taken.as_ref().err(), &self.config, Instant::now());
        taken
    }

    fn take(&self, credential: &Credential) -> Renewed {
        if credential.lifetime().is_some_and(|lifetime| lifetime.is_zero()) {
            return Err(self.unusable("it has expired already; is this machine's clock or the issuer's right?"));
        }
        self.install(credential, false)
    }

    pub(super) fn tell(&self, renewed: &Renewed) {
        match renewed {
            Ok(_) => tracing::debug!(provider = %self.name, "credential renewed"),
            Err(error) => tracing::warn!(provider = %self.name, %error, "credential not renewed"),
        }
        self.observers.tell(|| Event::CredentialRefreshed {
            provider: &self.name,
            renewed: renewed.is_ok(),
            valid_for: renewed
                .as_ref()
                .ok()
                .and_then(|new| Some(new.expires?.saturating_duration_since(Instant::now()))),
        });
    }
}
