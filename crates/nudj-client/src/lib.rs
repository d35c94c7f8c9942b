//! A typed client for the Nudj API over the layers of [`nudj_tower`].
//!
//! | module | what is there |
//! |---|---|
//! | [`Client`], [`ClientBuilder`] | where to start |
//! | [`config`] | every number, from TOML, environment or code |
//! | [`credentials`] | tokens from the environment, a watched file, a token endpoint, a vault |
//! | [`keys`] | idempotency keys that outlive the process |
//! | [`api`] | `client.admin()`, `client.integration()` |
//! | [`model`] | what the API sends and takes |
//! | [`Error`] | what a call that failed says |
//! | [`stack`] | the layers in their order |
//! | [`transport`] | the thin hyper service below them |

pub mod api;
mod builder;
mod client;
pub mod config;
pub mod credentials;
mod error;
pub mod keys;
pub mod model;
mod path;
mod request;
mod service;
#[cfg(feature = "keys-sqlite")]
#[doc(hidden)]
pub mod sqlite;
pub mod stack;
pub mod transport;

pub use self::{
    builder::ClientBuilder,
    client::Client,
    config::Config,
    error::{Error, ErrorKind},
    request::{Answer, RequestBuilder},
    service::{NudjFuture, NudjService},
};
