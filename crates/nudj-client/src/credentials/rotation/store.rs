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
    /// Whether a rotation began whose end was not stored: the server may have made a key that nobody has.
    pub begun: bool,
}

impl StoredKeys {
    /// A key that was made by hand.
    pub fn new(current: impl Into<SecretString>) -> Self {
        Self { current: current.into(), previous: None, rotated_at: None, begun: false }
    }
}

/// Where keys are kept: a vault, a file. What was stored must survive a crash.
pub trait SecretStore: Send + Sync + 'static {
    /// A name for errors and logs. Never a secret.
    fn name(&self) -> &str;

    /// Reads the keys.
    fn load(&self) -> Done<'_, StoredKeys>;

    /// Replaces the keys, whole or not at all.
    fn store(&self, keys: StoredKeys) -> Done<'_, ()>;
}

/// Makes new keys.
pub trait KeyRotator: Send + Sync + 'static {
    /// A name for errors and logs. Never a secret.
    fn name(&self) -> &str;

    /// Makes a new key. The current one must stay good for a while after.
    fn rotate(&self) -> Done<'_, SecretString>;
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
