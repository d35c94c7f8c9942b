//! Health: is Nudj there, does it let us in, and is all well that stands beside it?
//!
//! ```
//! use nudj_client::Client;
//! use nudj_observe::health::{CheckConfig, Finding, Health, Status};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = nudj_mock::MockNudj::start().await?;
//! # let client = Client::builder().endpoint(mock.url()).token(mock.token()).build()?;
//! let health = Health::builder()
//!     .client(&client, CheckConfig::default())
//!     // For Redis: `move || { let mut redis = redis.clone(); async move { redis.ping().await?; Ok(Finding::Healthy) } }`; for SQL
//!     // `select 1`, for a bus its `flush`.
//!     .check("redis", CheckConfig::optional(), || async { Err("connection refused".into()) })
//!     .build()?;
//! let report = health.report().await;
//! assert_eq!(report.checks["nudj_api"].status, Status::Healthy);
//! assert_eq!(report.checks["redis"].status, Status::Unhealthy);
//! assert_eq!(report.status, Status::Degraded);
//! let app: axum::Router = health.router();
//! # Ok(()) }
//! ```
//!
//! # Probing is cheap
//!
//! What a check found holds for `cache_for`; callers of the same moment share one check; a check that takes longer than its timeout
//! is unhealthy. So a check runs at most once per `cache_for`, however many ask. A check that panics is unhealthy too. One that takes
//! longer than whoever asks will wait goes on without them, and the next is shown what it found.
//!
//! # Checks
//!
//! | name | healthy | degraded | unhealthy |
//! |---|---|---|---|
//! | `nudj_api` | it answers | it, our limiter or our full pool holds us back | no answer, 5xx, another's answer, every circuit open |
//! | `authentication` | let in | could not be checked | no credential, 401, 403 |
//! | `circuit_breakers` | none open | some open | all open |
//! | yours | [`Finding::Healthy`] | [`Finding::Degraded`] | an error |
//!
//! The first two share one call, which has nine tenths of the check's timeout: it does not queue or repeat beyond that. Only what Nudj
//! documents counts as its answer: a user with an id, or an error with a code. A proxy's page of 200 or 404 is another server's.
//!
//! [`Threshold`] makes a check of a number: a webhook queue, a lag, dead letters.
//!
//! # Endpoints
//!
//! [`EndpointChecks`] asks every endpoint of a client by itself and tells the round robin: one that is down takes no calls while
//! another is up, before a caller has met it.
//!
//! # Mistakes to avoid
//!
//! - `/livez` that checks what others run: their failure would restart you. Ours checks nothing.
//! - Critical what the service can do without: [`CheckConfig::optional`].
//! - A prober that gives up before a check does: kubelet's `timeoutSeconds` is 1, a check's timeout 2 s. The first probe of a process then
//!   fails while something hangs, later ones are shown what was found before, if their period is below six times `cache_for`. Give
//!   the prober more time than the longest timeout.
//!
//! Source: the seed's "Health Check Pattern".

mod active;
mod check;
mod nudj;
mod report;
mod routes;
mod service;
mod threshold;

pub use self::{
    active::{EndpointChecks, EndpointChecksConfig},
    check::{Check, CheckConfig, Checking, Finding},
    report::{CheckReport, Report, Status},
    service::{Health, HealthBuilder},
    threshold::Threshold,
};
