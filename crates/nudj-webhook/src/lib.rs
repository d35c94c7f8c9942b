//! Receives Nudj webhooks: each delivery verified, recorded and answered at once, then handled at least once.
//!
//! | | |
//! |---|---|
//! | [`receiver`] | [`Receiver`]: axum router, tower service, shutdown |
//! | [`verify`] | [`Verifier`]: is it really from the sender, and recent? Usable alone |
//! | [`event`] | [`Event`](event::Event): what a delivery says |
//! | [`inbox`] | where deliveries wait, and what was seen: memory, SQLite, PostgreSQL, Redis |
//! | [`Handler`], [`Delivery`] | what is done with them; retries and dead letters |
//! | [`WebhookConfig`] | every number and its default |
//! | [`Snapshot`] | counters |
//!
//! ```text
//!  POST ─▶ head ok? ─▶ body ≤ limit? ─▶ signature? ─▶ event? ─▶ inbox ─▶ 200
//!            401          413, 408          401          400      503   │
//!                                                                       ▼
//!                                              handlers, retried with backoff ─▶ dead letter
//! ```
//!
//! Features: `axum` (default), `server`, `cache` (`InvalidateUser`), `sqlite`, `postgres`, `redis`.

mod config;
mod counters;
mod dispatch;
mod error;
#[cfg(feature = "cache")]
mod invalidate;
mod wall_clock;

pub mod event;
pub mod inbox;
pub mod receiver;
pub mod verify;

pub use config::{QueueConfig, ReplayConfig, RetryConfig, WebhookConfig};
pub use counters::Snapshot;
pub use dispatch::{Delivery, Handler, Permanent};
pub use error::{BoxError, Error};
#[cfg(feature = "cache")]
pub use invalidate::InvalidateUser;
pub use receiver::{Receiver, ReceiverBuilder, ShutdownReport, WebhookService};
pub use verify::{Claim, Refusal, Scheme, Verified, Verifier};
pub use wall_clock::{SystemClock, WallClock};
