//! The live dashboard: one router, one page, nothing from elsewhere.
//!
//! It shows how calls go right now and went in the last five minutes: rate, percentiles, success and repeats; a card per endpoint
//! with its breaker, and the time until the next probe; limiter, caches, credential, synchronizations; the last failures with
//! their correlation ids.
//!
//! ```no_run
//! use nudj_client::{Client, Config};
//! use nudj_observe::dashboard::{Dashboard, DashboardConfig};
//!
//! # async fn example(token: secrecy::SecretString) -> Result<(), Box<dyn std::error::Error>> {
//! let dashboard = Dashboard::new(DashboardConfig::default())?;
//! let config = Config::with_endpoints(["https://acme.nudj.cx"]);
//! let client = Client::builder().config(config).token(token).observer(dashboard.observer()).build()?;
//! dashboard.watch(&client);
//! let users = dashboard.sync("users");
//! users.set(120, Some(4000), None);
//!
//! let app: axum::Router = axum::Router::new().nest("/dashboard", dashboard.router());
//! # let _ = app; Ok(()) }
//! ```
//!
//! # Cost
//! Each call and attempt takes a short lock of one of four shards and reads the clock; about 0.5 MiB in all. Nothing else runs while
//! nobody looks. One snapshot a second, and one at once when a breaker changes its state, serves all viewers; one who is too slow
//! skips frames and then gets everything anew. No more than `max_viewers` watch; one who takes nothing for 30 s loses its place.
//!
//! # Safety
//! The page is read-only unless [`Dashboard::controls`] is given a guard; then a `POST` must come from the page's own origin, by a name that is
//! its own ([`hosts`](DashboardConfig::hosts)), and pass the guard. It has no authentication: serve it on loopback or behind your own. It shows endpoint names, operations and correlation
//! ids, never tokens, bodies or URLs of calls. A Content-Security-Policy allows its own script and style by hash and nothing
//! else; texts are set as text, never as markup.
//!
//! # Shutdown
//! A viewer's stream has no end, so a graceful shutdown would wait for it: call [`Dashboard::close`] first.
//!
//! Server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>

mod collector;
mod config;
mod control;
mod end;
mod handle;
mod happenings;
mod histogram;
mod hub;
mod page;
mod progress;
mod recent;
mod router;
mod seconds;
mod sources;
mod stream;
mod verdict;
mod view;
mod viewers;

pub use self::{config::DashboardConfig, handle::Dashboard, progress::SyncProgress};
