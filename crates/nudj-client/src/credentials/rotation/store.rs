use std::{fmt, future::Future, pin::Pin, sync::Arc, time::SystemTime};

use nudj_tower::{
    BoxError,
    credentials::{Credential, CredentialProvider, Fetch},
};
use secrecy::SecretString;

/// The future of a step. It is boxed because stores and rotators stand behind a `dyn`; a step is rare.
pub type Done<'s, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 's>>;

/// What a [`SecretStore`] keeps: the key, and how far its rotation has come.
#[derive(Clone, Debug)]
pub struct StoredKeys {
    /// The key to use.
    pub current: SecretString,
    /// The one before, for as long as it may still be needed.
    pub previous: Option<SecretString>,
    /// When the current key was made; `None` when nobody noted it.
    pub rotated_at: Option<SystemTime>,
    /// The name of a rotation that began and whose end was not stored: the server may have made a key that nobody has. Asked again
    /// under the same name, a server that honours idempotency keys gives that one.
    pub begun: Option<String>,
    /// Which writing of the keys this is. To be handed back as it came when they are replaced.
    pub revision: Revision,
}

/// Which writing of the keys was read, for stores that refuse to replace one they were not shown; empty for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision(Option<Arc<str>>);

impl Revision {
    /// As the store names it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(Some(name.into()))
    }

    /// The store's name of it; `None` when the store has none, or when nothing was read.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl StoredKeys {
    /// A key that was made by hand.
    pub fn new(current: impl Into<SecretString>) -> Self {
        Self { current: current.into(), previous: None, rotated_at: None, begun: None, revision: Revision::default() }
    }
}

/// Where keys are kept: a vault, a file. What was stored must survive a crash.
pub trait SecretStore: Send + Sync + 'static {
    /// A name for errors and logs. Never a secret.
    fn name(&self) -> &str;

    /// Reads the keys.
    fn load(&self) -> Done<'_, StoredKeys>;

    /// Replaces the keys, whole or not at all, and says which writing that was. A store that can refuses when somebody else has
    /// written since `keys.revision`, with [`ProviderError::Conflict`](crate::credentials::ProviderError::Conflict).
    fn store(&self, keys: StoredKeys) -> Done<'_, Revision>;
}

/// Makes new keys.
pub trait KeyRotator: Send + Sync + 'static {
    /// A name for errors and logs. Never a secret.
    fn name(&self) -> &str;

    /// Makes a new key. The current one must stay good for a while after: a process can end between this answer and its being stored.
    /// `rotation` names the rotation, the same each time it is tried; a server that honours idempotency keys should be sent it.
    fn rotate<'r>(&'r self, rotation: &'r str) -> Done<'r, SecretString>;
}

/// The current key of a store, as a provider for the client.
#[derive(Clone)]
pub struct StoredKey(Arc<dyn SecretStore>);

impl StoredKey {
    /// Sends with the current key of `store`.
    pub fn new(store: Arc<dyn SecretStore>) -> Self {
        Self(store)
    }
}

impl CredentialProvider for StoredKey {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn fetch(&self) -> Fetch<'_> {
        Box::pin(async move { Ok(Credential::new(self.0.load().await?.current)) })
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredKey").field(&self.0.name()).finish()
    }
}
