//! Bounds a whole call: all its attempts, waits and backoff.
//!
//! The deadline is also written into the call's [`CallContext`](crate::CallContext), where the layers below read it: the limiter
//! does not queue past it, retry does not sleep past it. A caller with a deadline of its own writes it there first, and of the
//! two the earlier holds.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), nudj_tower::BoxError> {
//! use std::time::Duration;
//!
//! use http::{Request, Response};
//! use nudj_tower::{BoxError, Rejection, deadline::{DeadlineConfig, DeadlineLayer}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let slow = service_fn(|_: Request<()>| async {
//!     tokio::time::sleep(Duration::from_secs(3600)).await;
//!     Ok::<_, BoxError>(Response::new(()))
//! });
//! let layer = DeadlineLayer::new(DeadlineConfig { total: Duration::from_secs(60) })?;
//! let error = ServiceBuilder::new().layer(layer).service(slow).oneshot(Request::new(())).await.unwrap_err();
//! let total = Duration::from_secs(60);
//! assert_eq!(Rejection::find(&*error), Some(&Rejection::DeadlineExceeded { total, sent: true }));
//! # Ok(())
//! # }
//! ```
//!
//! # Place in the stack
//! Outside everything that waits: cache, retry, limiter. Below retry it would bound each attempt by what is left of the first
//! one's deadline, since the context is one for the whole call and a deadline is never put off; for that use
//! [`timeout`](crate::timeout).
//!
//! `poll_ready` is that of the service below and takes as long as it takes: there is no call yet whose time could run. The
//! layers of this crate that wait do so in `call`, where the deadline sees them.
//!
//! # On cancel
//! Dropping the future drops the work below it; so does the end of the time. A call whose deadline has passed before it begins
//! is refused without a call below. A refusal leaves the readied instance as it is: what it reserved (a place in a `ConcurrencyLimit`, a
//! slot of a `Buffer`) stays reserved for the next call on this instance, or is given back when the instance is dropped. A clone per
//! call gives it back at once.
//!
//! # On panic
//! A panic below passes through.
//!
//! # Errors
//! [`Rejection::DeadlineExceeded`](crate::Rejection::DeadlineExceeded); errors from below pass unchanged. Whether a request had
//! left is known only where a layer below counts tries ([`round_robin`](crate::round_robin) does): say so with
//! [`DeadlineLayer::tries_counted`]. Otherwise `sent` is `true`, the answer that never repeats an effect by mistake.
//!
//! # Mistakes to avoid
//! The time ends with the response's head. A body that is read later is outside of it: collect it below (our transport does),
//! or keep the time with [`AttemptTimeoutLayer::with_body`](crate::timeout::AttemptTimeoutLayer::with_body).
//!
//! [`DeadlineLayer::one_task`] above a layer that polls a call and then spawns it: the attempt's timer, on which the deadline relies
//! then, wakes that task and not this one, and the deadline comes late or never.

mod config;
mod layer;
mod service;

pub use self::{
    config::DeadlineConfig,
    layer::DeadlineLayer,
    service::{Deadline, DeadlineFuture},
};
