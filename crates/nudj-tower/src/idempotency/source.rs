//! Where keys come from.

use std::{
    fmt,
    future::{Future, Ready},
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method};
use pin_project_lite::pin_project;
use uuid::{NoContext, Timestamp, Uuid};

use super::KeyStore;
use crate::{BoxError, classify::since_1970};

/// The caller's own name of what a request does: an order's number, say. Put it into the request's extensions, and the key is
/// made from it, so that the same order carries the same key after a restart too.
///
/// ```
/// use nudj_tower::idempotency::BusinessKey;
///
/// let mut request = http::Request::post("/rewards/7/claim").body(()).unwrap();
/// request.extensions_mut().insert(BusinessKey::new("order-42"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BusinessKey(String);

impl BusinessKey {
    /// Names what the request does.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BusinessKey {
    /// Without the name, which may be a person's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusinessKey(..)")
    }
}

/// What a key is for.
#[derive(Clone, Copy)]
pub struct Operation<'r> {
    /// The request's method, POST or PATCH.
    pub method: &'r Method,
    /// The request's path, without its query.
    pub path: &'r str,
    /// The caller's name for it, if there is one.
    pub business_key: Option<&'r BusinessKey>,
}

impl Operation<'_> {
    /// The business key with method and path before it, so that one order's number used for two things makes two keys.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.business_key.map(|key| format!("{} {} {}", self.method, self.path, key.as_str()))
    }
}

impl fmt::Debug for Operation<'_> {
    /// Without the path, in which a person may be named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("method", self.method)
            .field("business_key", &self.business_key)
            .finish_non_exhaustive()
    }
}

/// Makes the key of a request that has none.
pub trait KeySource {
    /// The wait for a key that is not at hand.
    type Future: Future<Output = Result<HeaderValue, BoxError>>;

    /// The key.
    ///
    /// # Errors
    /// When there can be none. The request is not sent then.
    fn key(&self, operation: &Operation<'_>) -> Result<Key<Self::Future>, BoxError>;
}

/// A key, or the wait for one.
#[derive(Debug)]
pub enum Key<F> {
    /// Here it is.
    Now(HeaderValue),
    /// It comes when this ends.
    Later(F),
}

/// A new UUIDv7 for each call, whatever it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generated;

impl KeySource for Generated {
    type Future = Ready<Result<HeaderValue, BoxError>>;

    fn key(&self, _: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
        header(new_uuid()).map(Key::Now)
    }
}

/// A UUIDv5 of the business key where there is one, else a new UUIDv7. Nothing is kept: the same business key, method and path make
/// the same key everywhere and for ever.
#[derive(Clone, Copy, Debug, Default)]
pub struct Derived;

/// The namespace of derived keys. Never change it: keys of requests that are under way would change with it.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0f_4a3c_52d0_4c0b_9d5e_3f3b_8a1e_7c21);

impl KeySource for Derived {
    type Future = Ready<Result<HeaderValue, BoxError>>;

    fn key(&self, operation: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
        let key = operation.name().map_or_else(new_uuid, |name| Uuid::new_v5(&NAMESPACE, name.as_bytes()));
        header(key).map(Key::Now)
    }
}

/// A UUIDv7 that is kept in a store under the business key; without one, a new UUIDv7. Unlike a derived key it can be forgotten on
/// purpose, to do the same thing once more.
#[derive(Clone, Debug)]
pub struct Stored<K> {
    store: K,
}

impl<K: KeyStore> Stored<K> {
    /// Keeps keys in `store`.
    pub fn new(store: K) -> Self {
        Self { store }
    }
}

impl<K: KeyStore> KeySource for Stored<K> {
    type Future = StoredKey<K::Future>;

    fn key(&self, operation: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
        let new = new_uuid();
        match operation.name() {
            Some(name) => Ok(Key::Later(StoredKey { inner: self.store.get_or_insert(name, new.to_string()) })),
            None => header(new).map(Key::Now),
        }
    }
}

pin_project! {
    /// The wait for a key from a store.
    #[derive(Debug)]
    pub struct StoredKey<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<String, BoxError>>> Future for StoredKey<F> {
    type Output = Result<HeaderValue, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(HeaderValue::try_from(key).map_err(Into::into))
    }
}

/// A new UUIDv7. uuid's own `now_v7` panics while the clock is before 1970.
fn new_uuid() -> Uuid {
    let since = since_1970();
    Uuid::new_v7(Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos()))
}

fn header(key: Uuid) -> Result<HeaderValue, BoxError> {
    Ok(HeaderValue::from_str(key.hyphenated().encode_lower(&mut Uuid::encode_buffer()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_operation_no_path_is_printed() {
        let operation = Operation { method: &Method::POST, path: "/users/anna@example.org", business_key: None };
        let printed = format!("{operation:?}");
        assert!(printed.contains("POST") && !printed.contains("anna"), "{printed}");
    }
}
