//! A Nudj API inside your process, for tests, demos and your own code: the documented endpoints over data in memory, and faults on
//! order.
//!
//! [`MockNudj`] listens on local ports; [`MockService`] is the same without a socket, a `tower` service for unit tests under a
//! paused clock. Either is started empty, or with a [`Seed`]; a [`Fault`] says what goes wrong, where and how often; what arrived
//! can be asserted afterwards.
//!
//! ```
//! use http::Method;
//! use nudj_mock::{Fault, MockNudj};
//! use serde_json::json;
//! # use http_body_util::{BodyExt, Full};
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! # async fn get(mock: &MockNudj, path: &str) -> (u16, serde_json::Value) {
//! #     let client = Client::builder(TokioExecutor::new()).build_http();
//! #     let request = http::Request::get(format!("{}{path}", mock.url())).header("x-api-token", mock.token());
//! #     let answer = client.request(request.body(Full::<bytes::Bytes>::default()).unwrap()).await.unwrap();
//! #     let status = answer.status().as_u16();
//! #     (status, serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap())
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), nudj_mock::MockError> {
//! let mock = MockNudj::start().await?;
//! let user = mock.add_user(&json!({"email": "ada@example.com", "externalUserId": "42"}))?;
//! let path = format!("/api/v2/admin/users/{}", user["id"].as_str().unwrap_or_default());
//!
//! // Two failures, then as usual. `get` stands for the client under test, told `mock.url()` and `mock.token()`.
//! let sick = mock.inject(Fault::statuses([503, 503, 200]).on(Method::GET, "/api/v2/admin/users/{id}"));
//! assert_eq!(get(&mock, &path).await.0, 503);
//! assert_eq!(get(&mock, &path).await.0, 503);
//! let (status, body) = get(&mock, &path).await;
//! assert_eq!((status, &body["email"]), (200, &json!("ada@example.com")));
//!
//! // What arrived.
//! assert_eq!(mock.fired(sick), 2);
//! assert_eq!(mock.received().count(Method::GET, "/api/v2/admin/users/{id}"), 3);
//! assert_eq!(mock.requests()[0].header("x-api-token"), Some(mock.token()));
//! # Ok(())
//! # }
//! ```
//!
//! Without a socket, under a paused clock:
//!
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use nudj_mock::{Fault, MockService};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let mut mock = MockService::default();
//! mock.inject(Fault::latency(Duration::from_secs(3600)));
//! mock.inject(Fault::close().times(1));
//! let request = || {
//!     Request::get("/api/v2/integration/me").header("x-api-token", mock.token()).body(Full::<Bytes>::default())
//! };
//! let (first, second) = (request()?, request()?);
//! // A closed connection is the io error that a socket would give; an hour passes at once.
//! let error = mock.call(first).await.unwrap_err();
//! assert_eq!(error.downcast_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
//! assert_eq!(mock.call(second).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Several endpoints
//!
//! [`MockNudj::start_many`] gives several instances over the same data. [`MockNudj::kill`] closes an instance's socket and
//! connections at once, [`MockNudj::revive`] listens on the same port again, which is held in between.
//!
//! # Faults
//!
//! | what | by |
//! |---|---|
//! | statuses, in order or always | [`Fault::statuses`], [`Fault::status`], with [`Fault::retry_after`] or [`Fault::retry_after_date`] |
//! | a slow server, or one that never answers | [`Fault::latency`], [`Fault::hang`] |
//! | connection closed, without or with effect | [`Fault::close`], [`Fault::lost_answer`] |
//! | body cut, or byte by byte | [`Fault::truncated`], [`Fault::drip`] |
//! | body strange, huge, or a proxy's | [`Fault::answer`], [`Fault::huge_body`], [`Fault::html`], [`Fault::redirect`] |
//! | headers added | [`Fault::headers`], [`Fault::header`] |
//! | a server-side quota | [`Fault::quota`] |
//! | where, how often, how likely | [`Fault::on`], [`Fault::instance`], [`Fault::after`], [`Fault::times`], [`Fault::probability`] |
//! | deduplication by `Idempotency-Key` | [`Control::set_idempotency`] |
//! | tokens that end | [`Control::revoke_token`], [`Control::issue_token`] |
//!
//! # What it serves
//!
//! Under `/api/v2`: users, events, challenges, challenge groups, actions and their participations, rewards (`admin` and
//! `integration`), communities, achievements, leaderboard configurations, webhook configurations and logs, and `analytics`'
//! `users/details`. Answers have the documented fields; errors the documented envelope `{message, code, data: {httpStatus, path}}`.
//! Lists take `limit` (1 to 100), `skip`, `search`, `sort`, `status`, `communityId`, `fromDate` and `toDate`.
//!
//! Seed only, not in the public reference, since the documentation shows no such call:
//!
//! | call | answer |
//! |---|---|
//! | `PATCH` or `POST /admin/users/{id}` | the changed user |
//! | `POST /admin/users/bulk` `{users: […]}` (up to 1000) | `{results: [{index, success, user?, error?: {message, code}}]}` |
//! | `POST /admin/challenges` `{title, communityId}` | the challenge |
//! | `POST /integration/challenges/{id}/start`, `/complete` `{userId?, score?}` | `{status, …}`, `{completed, score, …}` |
//! | `POST /admin/auth/rotate-api-key` | `{apiKey}`; the old key is good for a while longer |
//! | `POST /oauth/token`, grant `client_credentials` | `{access_token, token_type, expires_in}` |
//! | a deleted user | 404 "User not found", while the record stays, anonymised: [`Control::user_record`] |
//!
//! Where the documentation is silent the mock chooses, and the choice may differ from the real API: success is always 200; a body
//! of another type than `application/json`, or of none, is 415; a taken `email`, `externalUserId` or `externalTransactionReference`
//! is 409; only `email` is required of a new user; an update cannot set to `null` what every record has; challenges and actions take
//! the progress periods that are listed for groups; rewards are given as `assets` or `entries`; completing a challenge twice is 409;
//! every action's answer counts as right; webhooks are sent when a test says so ([`Control::send_webhook`],
//! [`Control::deliver`]), not by themselves.
//!
//! # Limits
//!
//! Everything is bounded: users (250 000), other records (50 000 of each kind), the request log (10 000 requests, 16 MiB), request
//! bodies (10 MiB), faults (1024), idempotency keys (10 000, with their answers 32 MiB), issued tokens (1000), logged events and
//! webhook deliveries (64 MiB each). The [`Builder`] sets the first four. Users and records are bounded by their number alone, and
//! each may be as large as a request body.
//!
//! # Features
//!
//! `tls`: `Builder::tls` serves HTTPS with a certificate authority made on the spot, `MockNudj::ca_pem`.

mod api;
mod body;
mod builder;
mod clock;
mod control;
mod data;
mod error;
mod exchange;
mod faults;
mod instance;
mod log;
mod server;
mod service;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod webhook;

pub use builder::Builder;
pub use control::Control;
pub use data::Seed;
pub use error::{Disconnected, MockError};
pub use faults::{Fault, FaultId};
pub use log::{Received, RecordedRequest};
pub use server::MockNudj;
pub use service::{BoxError, MockService};
pub use store::Records;
pub use webhook::{WebhookDelivery, WebhookEvent, webhook_signature};
