use std::{fmt, future::Future, pin::Pin};

use parking_lot::Mutex;

use super::Credential;
use crate::BoxError;

/// The future of a fetch. It is boxed because providers stand behind a `dyn`; a fetch is rare.
pub type Fetch<'p> = Pin<Box<dyn Future<Output = Result<Credential, BoxError>> + Send + 'p>>;

/// Where credentials come from.
pub trait CredentialProvider: Send + Sync + 'static {
    /// A name for errors and logs, such as `vault`. Never a secret.
    fn name(&self) -> &str;

    /// Fetches a credential. Runs in a task of its own, once however many calls want one, and is bounded by
    /// [`fetch_timeout`](super::CredentialsConfig::fetch_timeout).
    fn fetch(&self) -> Fetch<'_>;

    /// Whether a later fetch may give another credential. `false` spares the copy of the request that a replay would need.
    fn renews(&self) -> bool {
        true
    }

    /// Completes when the source has changed and should be fetched again, which is then done by a fetch that begins later. By default it
    /// never does. It may be dropped before it completes and asked for anew: what changed in between must not be lost.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// One secret that never changes.
#[derive(Clone, Debug)]
pub struct StaticCredential(Credential);

impl StaticCredential {
    /// Always this secret.
    pub fn new(secret: impl Into<secrecy::SecretString>) -> Self {
        Self(Credential::new(secret))
    }
}

impl CredentialProvider for StaticCredential {
    fn name(&self) -> &str {
        "static"
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn renews(&self) -> bool {
        false
    }
}

/// A provider from a closure, for tests and small sources.
pub struct FromFn<F> {
    name: String,
    fetch: Mutex<F>,
}

impl<F> FromFn<F> {
    /// Calls `fetch` for each credential.
    pub fn new(name: impl Into<String>, fetch: F) -> Self {
        Self { name: name.into(), fetch: Mutex::new(fetch) }
    }
}

impl<F, Fut> CredentialProvider for FromFn<F>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Credential, BoxError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch(&self) -> Fetch<'_> {
        let fetch = (self.fetch.lock())();
        Box::pin(fetch)
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").field("name", &self.name).finish_non_exhaustive()
    }
}
