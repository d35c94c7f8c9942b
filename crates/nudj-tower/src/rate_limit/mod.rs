//! Never more calls than the quota: those too many wait in line, or are refused with the time to come again.
//!
//! [`RateLimitLayer`] keeps one quota for all calls, or one for each key ([`RateLimitLayer::keyed`]: per user, per route), and
//! pauses when the server says that it had enough.
//!
//! ```
//! use nudj_tower::{Rejection, rate_limit::{RateLimitConfig, RateLimitLayer}};
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nudj_tower::BoxError> {
//! let config = RateLimitConfig { max_requests: 2, window: Duration::from_secs(60), max_wait: Duration::ZERO, ..Default::default() };
//! let limit = RateLimitLayer::new(&config)?.for_any();
//! let service = ServiceBuilder::new().layer(&limit).service(service_fn(|call: u32| async move { Ok::<_, Infallible>(call) }));
//!
//! assert_eq!(service.clone().oneshot(1).await?, 1);
//! assert_eq!(service.clone().oneshot(2).await?, 2);
//! let error = service.oneshot(3).await.unwrap_err();
//! assert!(Rejection::find(&*error).and_then(Rejection::retry_after) > Some(Duration::from_secs(50)));
//! assert_eq!(limit.handle().counts().refused, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What passes
//!
//! [`Algorithm::SlidingWindow`]: a call passes when the grant `max_requests` before it lies a whole `window` back. So no window
//! of that length, wherever it starts, holds more than `max_requests` grants; a burst across a fixed window's edge cannot happen.
//! [`Algorithm::Gcra`]: a burst of `max_requests`, then one each `window / max_requests`.
//!
//! A call that cannot pass now
//! - is refused at once when its turn would come after `max_wait` or too late for its context's deadline
//!   ([`RateLimited`](crate::Rejection::RateLimited) with the time of its turn), or when `max_queue` others wait
//!   ([`QueueFull`](crate::Rejection::QueueFull));
//! - else stands in line, first-in first-out from its future's first poll. Only the head has a timer; the others are not polled until
//!   it is their turn.
//!
//! With a deadline it waits for nine tenths of the time that it has left when it comes: the last tenth is for the call itself. Else an
//! overloaded limiter would let each call pass only to be cut off once it is sent, and a breaker would take that for the server's failure.
//! Where calls take longer than a tenth of their time, keep `max_wait` below the deadline by what they take. A call whose deadline is over
//! when its turn is noticed, in a process that stood still, is refused as well.
//!
//! A place in line whose future is dropped goes to the next. Quota whose call was not sent is given back: dropped before the inner
//! service was called, an inner service that fails to become ready, or a [`Rejection`](crate::Rejection) from below whose
//! [`was_sent`](crate::Rejection::was_sent) is false. Any other call that went down has used its quota, however it ended.
//!
//! # What it learns
//!
//! A 429's Retry-After, and a used-up quota in `RateLimit`, `RateLimit-Remaining` or `X-RateLimit-Remaining` with its reset
//! ([`parse_rate_limit`](crate::classify::parse_rate_limit)), pause all calls of that key, `max_retry_after` at most. Whoever cannot wait
//! so long is refused right then. A 503's Retry-After pauses nobody: one endpoint's trouble is not the quota's.
//!
//! # Place in the stack
//!
//! Below retry, because the server counts attempts; above the balancer, whose handle it [`asks`](RateLimitLayer::asks) so that
//! nobody waits or pays while no endpoint would take the call. Above retry, repeats would be free.
//!
//! Always ready: what waits, waits in the future, and holds no slot of an inner limit meanwhile. So tower's `LoadShed`, `Balance`
//! and `ReadyCache` outside do not see this limit; `max_queue` bounds it. With quota in hand an inner service that is
//! ready is called at once, else the future drives it. A grant's time is when quota was taken: below, put nothing that holds calls for
//! long and lets them go together, such as a `ConcurrencyLimit` (put that outside).
//!
//! A quota above 1024 is counted in granules of a 63rd of its window. What is left of the newest granule is lent to all who come: a call takes of it
//! by one step on one word. The limiter's lock is for the next granule, for those who wait and for whatever changes the quota.
//!
//! # On cancel, on panic, errors
//!
//! Cancel: see above; at every await quota and place go to the next. A panic below uses up its quota. Errors: the inner service's,
//! unchanged, and [`Rejection`](crate::Rejection)s `RateLimited`, `QueueFull`, and `CircuitOpen` where it asks. The error type is
//! [`BoxError`](crate::BoxError).
//!
//! # Mistakes to avoid
//!
//! - A limiter per handler: `route("/a", …).layer(RateLimitLayer::new(&config)?)` twice has two quotas. Make one layer and clone it.
//! - Holding a future that waits without polling it: while it is the head, it holds up the line until the next call comes.
//! - Keys that callers choose, with a small `max_keys`: when all kept keys are busy, new ones share one quota. A key
//!   gets a limiter of its own once there is room and none of its calls waits for the shared quota; what passed there counts on.
//!
//! # Memory
//!
//! By the sliding window 8 bytes for each request of the quota, up to 1024 of them; above that quota 256 bytes whatever it is. By GCRA none.
//! A key of a keyed limiter takes about 240 bytes more, and its room for calls grows with them: by 8 to 16 bytes for each call of its fullest
//! window. A key that is idle, its window empty and no call using it, is let go when the map is three
//! quarters full and new keys come; that loses nothing. Known keys never pay for it.

mod allowance;
mod config;
mod gate;
mod guard;
mod handle;
mod keys;
mod layer;
mod limiter;
mod meter;
mod patience;
mod queue;
mod refusal;
mod rules;
mod service;
mod wakes;

pub use self::{
    config::{Algorithm, Quota, RateLimitConfig},
    handle::{KeyedRateLimitHandle, RateLimitHandle},
    keys::{Keyed, Leases, Limiters, Single},
    layer::RateLimitLayer,
    limiter::Counts,
    service::{RateLimit, RateLimitFuture},
};
