//! Spreads calls over several endpoints, in strict order over those that are well.
//!
//! The endpoint is picked per attempt, so a retry fails over. Each endpoint has its own inner stack: a breaker, a timeout, its
//! origin. One whose breaker refuses is skipped; those that this call has been to come last.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nudj_tower::BoxError> {
//! use http::{Request, Response, Uri};
//! use nudj_tower::{BoxError, round_robin::{Endpoint, Origin, OriginLayer, PlainLayer, RoundRobinConfig, RoundRobinLayer}};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let endpoints = ["https://a.nudj.cx", "https://b.nudj.cx"].map(|text| Origin::parse(text).map(Endpoint::at));
//! let endpoints = endpoints.into_iter().collect::<Result<Vec<_>, _>>()?;
//! // Made once per endpoint, outermost first. With a breaker: `(breaker.fresh().named(…), OriginLayer::of(endpoint))`.
//! let layers = |endpoint: &Endpoint| (PlainLayer, OriginLayer::of(endpoint));
//! let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints, layers)?;
//! let handle = layer.handle();
//!
//! let transport = service_fn(|request: Request<()>| async move { Ok::<_, BoxError>(Response::new(request.uri().clone())) });
//! let service = ServiceBuilder::new().layer(layer).service(transport);
//! for host in ["a.nudj.cx", "b.nudj.cx", "a.nudj.cx"] {
//!     let request = Request::get("/users/1").body(())?;
//!     let uri: Uri = service.clone().oneshot(request).await?.into_body();
//!     assert_eq!((uri.host(), uri.path()), (Some(host), "/users/1"));
//! }
//! assert_eq!(handle.endpoints().iter().map(|endpoint| endpoint.calls).collect::<Vec<_>>(), [2, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Whose turn it is
//!
//! | first | then | then | last |
//! |---|---|---|---|
//! | healthy, not tried by this call | healthy, tried | out, not tried | out, tried |
//!
//! Healthy is what is not out; out is what is ejected or marked down. Whose breaker refuses is in none of these columns. Within a
//! column the turns go round: over a list that does not change, the counts of any two endpoints of equal weight differ by at most
//! one, after any number of concurrent calls, whoever is skipped. With weights (smooth weighted round robin) no endpoint is ever a
//! whole turn ahead of its share or behind it. First tries and repeats have turns of their own.
//!
//! An endpoint that fails fast gets its share of calls, never more. With [`OutlierConfig`] it is ejected for a while: after
//! `consecutive_failures` in a row, or a `failure_rate` in the window, for `base_ejection` x (times out in a row), where each
//! `base_ejection` of healthy time takes one time off. What fails while it is out does not count; once it is back it starts anew.
//!
//! A search costs a look at each endpoint: a few nanoseconds; up to 64 endpoints it allocates nothing.
//!
//! # Place in the stack
//! Below retry, so that each attempt is sent elsewhere; below the rate limiter, which counts attempts and asks the
//! [handle](RoundRobinHandle) whether any endpoint would take one; above the breakers, one per endpoint, for one breaker around all
//! would let a sick endpoint cut off the others.
//!
//! `poll_ready` is ready at once, since the endpoint is not known yet: `LoadShed` and tower's `Balance` outside do not see the
//! endpoints' limits. `call` clones the endpoint's service, unless it [may keep instances](RoundRobinLayer::reserves_nothing), and drives it to readiness, in the future where that takes time;
//! the [`deadline`](crate::deadline) outside bounds it.
//!
//! An endpoint that refuses the request ([`TryCall`](crate::TryCall), such as a lost race for a half-open probe) hands it back, and
//! so does one whose service cannot become ready: the same request goes to the next, and no attempt is counted.
//!
//! # On cancel
//! Dropping the future drops the endpoint's, or the wait for its readiness. With outlier detection a call that is dropped at or
//! after its deadline counts as a failure of the endpoint, any other drop as nothing.
//!
//! # On panic
//! A panic below passes through, and is a failure of the endpoint.
//!
//! # Errors
//! [`Rejection::CircuitOpen`](crate::Rejection::CircuitOpen) without a name and with the soonest hint when every breaker refuses;
//! [`Rejection::NoEndpoint`](crate::Rejection::NoEndpoint) for an empty list; an endpoint's own error where none could become
//! ready; else what comes from below, unchanged.
//!
//! # Mistakes to avoid
//! - A breaker layer that is cloned into each endpoint's stack is one circuit for all. Wrong: `|_| breaker.clone()`. Right:
//!   `|endpoint| breaker.fresh().named(Arc::clone(endpoint.name()))`.
//! - A service that is `Send` but not `Sync` (tower's `BoxCloneService`) cannot be shared by calls on several threads. Use
//!   `BoxCloneSyncService`.

mod config;
mod ejection;
mod endpoint;
mod future;
mod handle;
mod layer;
mod member;
mod origin;
mod own;
mod pick;
mod registry;
mod search;
mod service;
mod set_origin;
mod weak;

pub use self::{
    config::{OutlierConfig, RoundRobinConfig},
    endpoint::{Endpoint, Plain, PlainLayer},
    future::RoundRobinFuture,
    handle::{EndpointView, RoundRobinHandle},
    layer::RoundRobinLayer,
    origin::{Origin, OriginError},
    service::RoundRobin,
    set_origin::{OriginLayer, SetOrigin, SetOriginFuture},
    weak::WeakRoundRobinHandle,
};
