//! Sends a request again when that may help, and never more than a failing server can bear.
//!
//! Policy, schedule, budget and service are ours: tower's service clones everything below it with every call, repeated or not, its budget
//! is not exact, and the clones of its backoff draw the same jitter.
//!
//! ```
//! use http::{Request, Response};
//! use nudj_tower::retry::{RetryConfig, RetryLayer};
//! use std::{convert::Infallible, sync::{Arc, atomic::{AtomicU32, Ordering}}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let attempts = Arc::new(AtomicU32::new(0));
//! let count = Arc::clone(&attempts);
//! let flaky = service_fn(move |_: Request<String>| {
//!     let status = if count.fetch_add(1, Ordering::Relaxed) < 2 { 503 } else { 200 };
//!     async move { Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap()) }
//! });
//! let service = ServiceBuilder::new().layer(RetryLayer::new(RetryConfig::default())?).service(flaky);
//! assert_eq!(service.oneshot(Request::new(String::new())).await?.status(), 200);
//! assert_eq!(attempts.load(Ordering::Relaxed), 3);
//! # Ok(())
//! # }
//! ```
//!
//! # What is sent again
//!
//! The [classifier](crate::classify::Http) says what an end means, this table what follows from it:
//!
//! | [`Resend`](crate::classify::Resend) | for example | sent again |
//! |---|---|---|
//! | `IfIdempotent` | 500, 502, 504, 408, broken exchange, timeout | GET, PUT, DELETE …, or with an `Idempotency-Key`; others never, unless [`unsafe_methods`](RetryLayer::unsafe_methods) |
//! | `Refused` | 429, 503 with Retry-After | any method |
//! | `NotSent` | connect failure | any method; at once if another endpoint is left |
//! | `Elsewhere` | the endpoint's circuit is open | any method, at once, only if another endpoint is left |
//! | `Never` | an answer, our own refusals, a cancelled call | no |
//!
//! Whatever stops the repeats, the caller gets the last answer or error as it came; only where the service below cannot be made ready for a
//! repeat that was granted does it get that error. They stop at `max_retries`, failovers
//! included; when the wait would end at or past the call's deadline; when a Retry-After is longer than `max_retry_after`; when the
//! budget is spent; when the body is gone.
//!
//! # When
//!
//! ```text
//! d = min(base_delay * 2^n, max_delay)         n waits before this one
//! none          d
//! equal         d/2 ..= d                      (default)
//! full          0 ..= d
//! decorrelated  base_delay ..= 3 * last wait   at most max_delay
//! Retry-After   asked ..= asked * 1.25         instead of the above, unless it is 0 or a date gone by
//! ```
//!
//! What an endpoint that failed asks for (`IfIdempotent`) is its own: where another one is left, that is tried after the backoff.
//!
//! Each call draws from randomness of its own, whichever clone it is made on. [`Backoff`] takes other sources of waits.
//!
//! # Budget
//!
//! In any 10 s, repeats <= `ratio` x calls + 10 x `min_per_second`, looking back from the moment a repeat is granted; see
//! [`RetryBudget`]. It is taken before the wait, so nobody waits for a repeat that is then not sent. A call that is dropped
//! before its repeat was sent gives it back.
//!
//! # Bodies
//!
//! With [`RetryLayer::new`] bodies must be `Clone` and are left as they are. [`RetryLayer::replaying`] takes any body and sends a
//! [`ReplayBody`] below, which keeps up to a cap. A longer one is sent once, in full, and the first answer stands; only what was
//! never read, after a connect failure, can be sent again. Who sends a copy below must keep to that too: a credentials layer does
//! by [`replay_bodies`](crate::credentials::CredentialsLayer::replay_bodies).
//!
//! # Place in the stack
//!
//! Below the deadline, which bounds all attempts, and the idempotency key, which must be the same on each. Above the limiter, so that
//! repeats take quota, and above the balancer and its breakers, so that a repeat goes elsewhere. Above the attempt's timeout:
//! below it, one hung attempt would use up the time of all.
//!
//! The call's [`CallContext`](crate::CallContext) tells the deadline and whether an endpoint is left, and carries
//! the number of the repeat; without one there is no deadline and no failover, and the first repeat makes one.
//!
//! Ready when the inner service is. A repeat is sent by a clone of the inner service, made when its wait is over: a call that waits holds
//! no slot below.
//! On cancel what was granted returns and nothing more is sent. A panic below passes through. Errors pass unchanged, boxed.
//!
//! # Mistakes to avoid
//!
//! - Two retries on top of each other, in the HTTP client or a mesh: 4 x 4 attempts. Turn the others off (hyper-util:
//!   `retry_canceled_requests(false)`).
//! - [`without_budget`](RetryLayer::without_budget) towards a shared server: its outage meets four times the load.
//!
//! Sources: RFC 9110, sections 9.2.2 and 10.2.3; "Exponential Backoff And Jitter",
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>; the budget's idea is Finagle's,
//! <https://twitter.github.io/finagle/guide/Clients.html#retries>.

mod backoff;
mod budget;
mod config;
mod decision;
mod keep;
mod layer;
mod policy;
mod replay;
mod service;

#[cfg(feature = "backoff")]
pub use self::backoff::from_backoff;
#[cfg(feature = "credentials")]
pub(crate) use self::keep::another;
pub use crate::exponential::{Exponential, Jitter};

pub use self::{
    backoff::Backoff,
    budget::{Reservation, RetryBudget},
    config::{BudgetConfig, RetryConfig},
    keep::{Keep, KeepClone, KeepHttp, KeepReplay, KeptCall},
    layer::{ReplayingRetryLayer, RetryLayer},
    replay::{DEFAULT_REPLAY_CAP, ReplayBody},
    service::{ReplayingRetry, Retry, RetryFuture},
};
