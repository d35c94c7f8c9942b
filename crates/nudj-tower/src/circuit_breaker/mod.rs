//! Cuts off a sick service: after too many failures calls are refused at once, until a probe shows that it has recovered.
//!
//! ```
//! use http::{Request, Response};
//! use nudj_tower::{BoxError, Rejection, circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State}};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let layer = CircuitBreakerLayer::new(&CircuitBreakerConfig { failure_threshold: 2, ..Default::default() })?.named("eu");
//! let mut service = layer.layer(service_fn(|_: Request<()>| async {
//!     Response::builder().status(500).body(()).map_err(BoxError::from)
//! }));
//! for _ in 0..2 {
//!     assert_eq!(service.ready().await?.call(Request::new(())).await?.status(), 500);
//! }
//! assert_eq!(layer.handle().state(), State::Open);
//! let refusal = service.ready().await?.call(Request::new(())).await.unwrap_err();
//! assert!(matches!(Rejection::find(&*refusal), Some(Rejection::CircuitOpen { retry_after: Some(_), .. })));
//! # Ok(())
//! # }
//! ```
//!
//! # States
//!
//! ```text
//!                    failure_threshold in a row, or failure_rate,
//!                    or slow_call_rate of the window
//!          ┌────────┐ ─────────────────────────────────────────▶ ┌──────┐
//!          │ closed │                                            │ open │◀─┐
//!          └────────┘                                            └──────┘  │ so many probes failed that
//!              ▲                                  open_for is over │       │ success_threshold is out of
//!              │  success_threshold probes succeeded    and a call │       │ reach, or half_open_for is over
//!              │                                             comes ▼       │
//!              │                                        ┌───────────┐      │
//!              └─────────────────────────────────────── │ half-open │ ─────┘
//!                                                       └───────────┘
//! ```
//!
//! Closed means calls pass. Half-open lets exactly `half_open_probes` calls pass and refuses the others. By hand, through
//! [`BreakerHandle`], a circuit is forced open, disabled, or only counts; [`reset`](BreakerHandle::reset) closes it.
//!
//! | a call ended in | closed | half-open |
//! |---|---|---|
//! | success | ends the row of failures; lowers the rate | brings the circuit nearer to closed |
//! | failure | lengthens the row; raises the rate | brings it nearer to open |
//! | throttled (429) | leaves the row; raises the rate | as a failure |
//! | ignored (refused by a layer below, dropped early) | nothing | its place is free for another probe |
//! | anything, but the state has changed since it began | nothing | nothing |
//!
//! What ended in what is the classifier's word: [`Http`](crate::classify::Http) unless you set another. A slow probe fails where
//! `slow_call_rate` is set. All comparisons, of rates and of times, are "at least".
//!
//! # Cost
//!
//! While all is well a call reads one word and writes nothing that threads share; it reads the clock only if it has to wait. With
//! `window` it reads the clock when it ends, too. A circuit's memory is fixed, `window_calls` in bits twice over.
//!
//! # Place in the stack
//!
//! Below retry and the balancer, one for each endpoint, above the attempt timeout: a timeout must reach it as an error.
//!
//! - Above retry it sees one end for many attempts and learns slowly; its refusals are then not retried.
//! - One for all endpoints: the sick one opens it for the well ones.
//! - Above a rate limiter, the wait for quota counts as the service being slow, if `slow_call` is set.
//! - A balancer uses [`TryCall`](crate::TryCall): a refused request comes back, and goes to the next endpoint.
//!
//! `poll_ready` is the inner service's; an error of it passes through and counts as nothing, for it is no call. Permits are taken in
//! `call`, so tower's `LoadShed` and `Balance` outside do not see an open circuit. A refusal leaves the readied
//! instance as it is: what it reserved (a place in a `ConcurrencyLimit`, a slot of a `Buffer`) stays reserved for the next call on
//! this instance, or is given back when the instance is dropped. A clone per call gives it back at once.
//!
//! # On cancel
//!
//! A dropped call is a failure when it hung: dropped at or after its deadline (from [`CallContext`](crate::CallContext)), or when
//! `abandoned_after` has passed since it first had to wait. So an outer timeout over a hung service opens the circuit, and a user
//! who presses cancel neither opens nor closes it. A dropped probe gives its place back at once. A call that was never polled counts
//! as nothing. A probe whose future is neither polled nor dropped holds its place until `half_open_for` ends.
//!
//! # On panic
//!
//! A panic of the inner service, in `call` or while polled, is a failure, and goes on.
//!
//! # Errors
//!
//! [`Rejection::CircuitOpen`](crate::Rejection::CircuitOpen) with the circuit's name and, where it is known, the time until the next
//! probe. Errors from below pass through as they are, boxed.
//!
//! # Mistakes to avoid
//!
//! - `CircuitBreakerLayer::new(…)` inside a handler or a per-connection closure: every call gets a circuit of its own, which never
//!   opens. Make the layer once, and clone it. `layer()` may be called as often as you like: the circuit is the layer's.
//! - Many `half_open_probes` where calls are rare: the probes must come within `half_open_for`. Keep one, or raise that time.
//! - `half_open_for`, or an `open_for` that stands in for it, below the attempt timeout: a slow but sound probe comes too late, and the
//!   circuit opens again, for ever if all are slow. [`with_attempt_timeout`](CircuitBreakerConfig::with_attempt_timeout) makes it long enough.
//! - Telling failures by `Result` alone over HTTP ([`for_any`](CircuitBreakerLayer::for_any)): a 500 is then an answer.
//! - A streaming body: the end is recorded at the head. Collect the body below the breaker if a broken one shall count.
//!
//! Sources: M. Nygard, Release It!; resilience4j's and Polly's documentation for the names;
//! <https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker>.

mod breaker;
mod config;
mod handle;
mod keyed;
mod layer;
mod owner;
mod rules;
mod service;
mod slices;
mod state;
mod weak;
mod window;

pub use self::{
    breaker::Breaker,
    config::CircuitBreakerConfig,
    handle::{BreakerHandle, Transition},
    keyed::{KeyedBreakers, KeyedCircuitBreaker, KeyedCircuitBreakerLayer},
    layer::CircuitBreakerLayer,
    service::{CircuitBreaker, CircuitBreakerFuture},
    state::{Admission, Cause, Change, Counts, End, Permit, State, Tick, View},
    weak::WeakBreakerHandle,
};
