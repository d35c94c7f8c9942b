//! Puts the current credential on each attempt; renews it before it expires, and once more when it is refused.
//!
//! A [`CredentialProvider`] says where credentials come from. [`Credentials`] keeps the current one: while it is valid nobody waits
//! for its renewal, one renewal runs however many calls want it, it outlives the call that started it, and a failed early renewal
//! leaves the valid credential in place. [`CredentialsLayer`] puts it on requests.
//!
//! ```
//! use std::{future::ready, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use nudj_tower::{BoxError, credentials::{Credential, Credentials, CredentialsConfig, CredentialsLayer, FromFn, Scheme}};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let mut issued = 0;
//! let provider = FromFn::new("tokens", move || {
//!     issued += 1;
//!     ready(Ok(Credential::new(format!("token-{issued}")).valid_for(Duration::from_secs(3600))))
//! });
//! let credentials = Credentials::new(provider, Scheme::Bearer, CredentialsConfig::default()).unwrap();
//! let service = CredentialsLayer::new(credentials).layer(service_fn(|request: Request<String>| {
//!     // The first token was revoked.
//!     let status = if request.headers()["authorization"] == "Bearer token-1" { 401 } else { 200 };
//!     ready(Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap()))
//! }));
//! let answer = service.oneshot(Request::new("body".to_owned())).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::OK);
//! # });
//! ```
//!
//! # States
//! ```text
//!  none --get--> fetching --ok--> valid --(early before expiry)--> valid + renewing --ok--> valid (next generation)
//!                   |                ^                                  | failed: back off, try again
//!                   '--failed--> none (waiters get the error)           '-- expired meanwhile --> fetching
//! ```
//! Calls start no fetch within `backoff` of one that failed, which doubles up to `max_backoff`: they get its error. Nor do they within
//! as much of one that a refusal led to, as long as nothing is accepted: the 401 is answered as it came.
//!
//! # Place in the stack
//! Below retry, so that each attempt carries what is current; above the limiter, so that a replay after a 401 takes quota like any
//! request. Swapped with the limiter, a replay would be free on our side and counted on the server's.
//!
//! `poll_ready` is ready at once: a clone of the inner service is made ready inside the future, after the credential is there. What is
//! sent after such a wait is what is current then.
//!
//! # On cancel
//! Dropping a call stops its wait; the renewal it started goes on for the others.
//!
//! # Errors
//! [`CredentialError`], which names the provider and never the secret. What the inner service returned passes through; a 401 that
//! cannot be helped is answered as it came.
//!
//! # Mistakes to avoid
//! One [`Credentials`] per client, not per request: it holds the state that makes one renewal serve all. Below a
//! [`RetryLayer::replaying`](crate::retry::RetryLayer::replaying) `CredentialsLayer::new` alone does not compile: its bodies are not
//! `Clone`, since a copy may have nothing to send any more. `replay_bodies()` looks whether it has.
//!
//! Source: the seed's "Token-Based Authentication" (renew 5 minutes before expiry) and "API Key Management".

mod background;
mod config;
mod credential;
mod current;
mod error;
mod fetching;
mod generation;
mod keeper;
mod layer;
mod provider;
mod renewal;
mod replay;
mod rest;
mod service;
mod single_flight;
mod weak;

#[cfg(feature = "retry")]
pub use self::replay::WhileIntact;
pub use self::{
    config::CredentialsConfig,
    credential::{Credential, Scheme},
    error::CredentialError,
    keeper::{Credentials, Snapshot},
    layer::CredentialsLayer,
    provider::{CredentialProvider, Fetch, FromFn, StaticCredential},
    replay::{Once, Replay, Replaying},
    service::{Credentialed, CredentialedFuture},
    weak::WeakCredentials,
};
