//! Keeps your records and Nudj's the same, whatever fails in between.
//!
//! | module | pattern |
//! |---|---|
#![cfg_attr(
    feature = "request-response",
    doc = "| [`request_response`] | create here, create at Nudj, store Nudj's id |"
)]
#![cfg_attr(feature = "batch", doc = "| [`batch`] | many records, a report for each, a checkpoint to go on from |")]
#![cfg_attr(feature = "event", doc = "| [`event`] | events on a bus: in memory, NATS JetStream, an outbox |")]
#![cfg_attr(feature = "bidirectional", doc = "| [`bidirectional`] | changes on both sides, merged |")]
#![cfg_attr(
    any(feature = "cdc-sqlite", feature = "cdc-postgres"),
    doc = "| [`cdc`] | changes of a database's tables, mapped to calls |"
)]
//! | [`status`] | where a synchronization stands, for a dashboard or metrics |
//! | [`remote`] | the seam to Nudj: [`Remote`], which `nudj_client::Client` implements |

#[cfg(feature = "batch")]
pub mod batch;
#[cfg(feature = "bidirectional")]
pub mod bidirectional;
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
pub mod cdc;
#[cfg(feature = "event")]
pub mod event;
#[cfg(feature = "request-response")]
pub mod request_response;

#[cfg(any(
    feature = "batch",
    feature = "event",
    feature = "request-response",
    feature = "cdc-sqlite",
    feature = "cdc-postgres"
))]
mod backoff;
#[cfg(any(feature = "event", feature = "cdc-sqlite", feature = "cdc-postgres"))]
mod causes;
mod error;
pub mod remote;
#[cfg(any(
    feature = "outbox-sqlite",
    feature = "cdc-sqlite",
    all(feature = "sqlite", any(feature = "request-response", feature = "bidirectional"))
))]
mod sqlite;
pub mod status;
#[cfg(any(feature = "request-response", feature = "bidirectional"))]
mod under_way;
#[cfg(any(
    feature = "batch",
    feature = "event",
    feature = "request-response",
    feature = "cdc-sqlite",
    feature = "cdc-postgres"
))]
mod until;
mod wall_clock;

pub use error::{BoxError, Error};
pub use remote::{Remote, RemoteError, RemoteErrorKind};
pub use wall_clock::{SystemClock, WallClock};
