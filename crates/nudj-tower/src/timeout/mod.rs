//! Bounds one attempt.
//!
//! The time runs from the attempt's first wait to the response's head, or with [`AttemptTimeoutLayer::with_body`] to the end of
//! its body. Work is polled before the timer, and there is no timer until something has to wait: a service that answers at once
//! pays nothing. A transport that has a clock for its connections can keep the time with that: see [`Keeper`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), nudj_tower::BoxError> {
//! use std::time::Duration;
//!
//! use nudj_tower::{BoxError, Rejection, timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let hung = service_fn(|()| std::future::pending::<Result<(), BoxError>>());
//! let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: Duration::from_secs(10) })?;
//! let error = ServiceBuilder::new().layer(layer).service(hung).oneshot(()).await.unwrap_err();
//! assert_eq!(Rejection::find(&*error), Some(&Rejection::AttemptTimeout { limit: Duration::from_secs(10) }));
//! # Ok(())
//! # }
//! ```
//!
//! # Place in the stack
//! Innermost, right around the transport, so that retry, balancer and breaker see the timeout as the failed attempt it is.
//! Outside of the breaker a hung call would be "abandoned" there instead of failed; outside of retry it would bound the call,
//! for which there is [`deadline`](crate::deadline).
//!
//! `poll_ready` is that of the service below and is not timed.
//!
//! # On cancel
//! Dropping the future drops the work below it; so does the end of the time.
//!
//! # On panic
//! A panic below passes through.
//!
//! # Errors
//! [`Rejection::AttemptTimeout`](crate::Rejection::AttemptTimeout), from the future or, with a body that keeps the time, from the
//! body; errors from below pass unchanged, save a [`TimeIsUp`] of whoever keeps the layer's time.
//!
//! # Mistakes to avoid
//! Over a streaming body the plain layer bounds only the head: a server that drips its body holds the caller for ever. Wrong:
//! `AttemptTimeoutLayer::new(config)?` over hyper's `Incoming`. Right: `AttemptTimeoutLayer::new(config)?.with_body()`, or a
//! transport below that collects the body.
//!
//! Over a body that keeps the time a breaker outside still records at the head.
//!
//! [`AttemptTimeoutLayer::one_task`] above a layer that polls an attempt and then spawns it: whoever keeps the time wakes that task and not this one, and
//! the attempt ends late or never.

mod body;
mod config;
mod keeper;
mod layer;
mod service;

pub use self::{
    body::TimeoutBody,
    config::AttemptTimeoutConfig,
    keeper::{Keeper, TimeIsUp},
    layer::{AttemptTimeoutLayer, BodyTimeoutLayer},
    service::{AttemptTimeout, AttemptTimeoutFuture, BodyTimeout, BodyTimeoutFuture},
};
