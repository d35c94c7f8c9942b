//! Gives each POST and PATCH a key, the same on every attempt, so that the server does the work once however often it is asked.
//!
//! A request that carries a key may be repeated like a GET: the [classifier](crate::classify::Http) knows it by the header.
//!
//! ```
//! use http::{Request, Response};
//! use nudj_tower::idempotency::{BusinessKey, Derived, IDEMPOTENCY_KEY, IdempotencyLayer};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new().layer(IdempotencyLayer::on().source(Derived)).service(service_fn(
//!     |request: Request<()>| async move { Ok::<_, Infallible>(Response::new(request.headers()[&IDEMPOTENCY_KEY].clone())) },
//! ));
//! let claim = || {
//!     let mut request = Request::post("/rewards/7/claim").body(()).unwrap();
//!     request.extensions_mut().insert(BusinessKey::new("order-42"));
//!     request
//! };
//! let first = service.clone().oneshot(claim()).await.unwrap();
//! let after_a_restart = service.oneshot(claim()).await.unwrap();
//! assert_eq!(first.body(), after_a_restart.body());
//! # }
//! ```
//!
//! # Which key
//!
//! | the request | [`Generated`] (default) | [`Derived`] | [`Stored`] |
//! |---|---|---|---|
//! | is not POST or PATCH | none | none | none |
//! | has an `Idempotency-Key` | that one | that one | that one |
//! | has a [`BusinessKey`] | a new UUIDv7 | a UUIDv5 of method, path and business key | what the store keeps for these, else a new UUIDv7 |
//! | has neither | a new UUIDv7 | a new UUIDv7 | a new UUIDv7 |
//!
//! A derived key needs no store and is the same on every machine. A stored one outlives the process too and can be forgotten to do
//! the same thing again. [`MemoryKeys`] is bounded and lives as long as the process.
//!
//! The key is sent bare, as Stripe and its like take it, and not as the quoted string of a structured field that the IETF draft below
//! defines. A server that parses strictly by the draft would not take it.
//!
//! # Place in the stack
//!
//! Above retry. Below it, each attempt would get a key of its own and the server would do the work as often as it is asked.
//! Below a cache, since an answer from it needs no key.
//!
//! Off unless the configuration says otherwise: a server that does not know the header would do the work once per attempt.
//!
//! Ready when the inner service is; calls it at once when the key is at hand. While a store is asked no slot of the inner service is
//! held: a clone is made ready afterwards, so tower's `LoadShed` outside does not see that wait. Dropped by then, nothing
//! was sent, and the store may have kept the key. When the store fails, the call ends with [`KeyError`] and the request was not sent:
//! sent without its key, it might be done twice. Other errors pass unchanged, boxed.
//!
//! # Mistakes to avoid
//!
//! - One [`BusinessKey`] for two different things done with the same method and path: the server does only the first.
//! - A business key that is new on each try, a clock's time for one: it protects nothing.
//!
//! Sources: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>; RFC 9562 for UUIDv5 and UUIDv7.

mod config;
mod layer;
mod service;
mod source;
mod store;

pub use self::{
    config::IdempotencyConfig,
    layer::IdempotencyLayer,
    service::{Idempotency, IdempotencyFuture, KeyError},
    source::{BusinessKey, Derived, Generated, Key, KeySource, Operation, Stored, StoredKey},
    store::{KeyStore, MemoryKeys},
};
pub use crate::classify::IDEMPOTENCY_KEY;
