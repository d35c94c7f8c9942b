//! Which key a request of the client gets.

use http::HeaderValue;
use nudj_tower::{
    BoxError,
    idempotency::{Derived, Key, KeySource, Operation, Stored, StoredKey},
};

use super::{KeyFuture, SharedKeys};

/// Kept where there is a store, else derived; new where there is no business key.
#[derive(Clone, Default)]
pub(crate) struct Keys(Option<SharedKeys>);

impl Keys {
    pub(crate) fn new(store: Option<SharedKeys>) -> Self {
        Self(store)
    }

    /// The key of an operation, waited for.
    pub(crate) async fn get(&self, operation: &Operation<'_>) -> Result<HeaderValue, BoxError> {
        match self.key(operation)? {
            Key::Now(key) => Ok(key),
            Key::Later(key) => key.await,
        }
    }
}

impl KeySource for Keys {
    type Future = StoredKey<KeyFuture>;

    fn key(&self, operation: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
        match &self.0 {
            Some(store) => Stored::new(store.clone()).key(operation),
            None => match Derived.key(operation)? {
                Key::Now(key) => Ok(Key::Now(key)),
                Key::Later(key) => key.into_inner().map(Key::Now),
            },
        }
    }
}
