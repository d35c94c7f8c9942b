//! Resilient calls to the Nudj engagement API: Tower layers, a typed client and the patterns around them.
//!
//! | module | crate | what is there |
//! |---|---|---|
//! | [`tower`] | `nudj-tower` | the layers, each usable alone in any tower or axum service |
#![cfg_attr(feature = "client", doc = "| [`client`] | `nudj-client` | the typed client and the composed stack |")]
#![cfg_attr(feature = "cache", doc = "| [`cache`] | `nudj-cache` | an HTTP caching layer and the levels behind it |")]
#![cfg_attr(
    feature = "webhook",
    doc = "| [`webhook`] | `nudj-webhook` | receives webhooks: verified, recorded, handled |"
)]
#![cfg_attr(
    feature = "sync",
    doc = "| [`sync`] | `nudj-sync` | keeps your records and Nudj's the same: five integration patterns |"
)]
#![cfg_attr(
    feature = "observe",
    doc = "| [`observe`] | `nudj-observe` | metrics, health checks and a live dashboard |"
)]
#![cfg_attr(feature = "mock", doc = "| [`mock`] | `nudj-mock` | an in-process Nudj API with scriptable faults |")]

#[cfg(feature = "cache")]
pub use nudj_cache as cache;
#[cfg(feature = "client")]
pub use nudj_client as client;
#[cfg(feature = "mock")]
pub use nudj_mock as mock;
#[cfg(feature = "observe")]
pub use nudj_observe as observe;
#[cfg(feature = "sync")]
pub use nudj_sync as sync;
pub use nudj_tower as tower;
#[cfg(feature = "webhook")]
pub use nudj_webhook as webhook;

/// The README's code, compiled with the other documentation tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
