//! What the page is told, as it is serialised.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{
    happenings::Happening,
    progress::SyncView,
    recent::{Failure, Row},
    seconds::Counts,
    verdict::Verdict,
};

/// A duration in whole milliseconds; saturates.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Everything there is to see.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Snapshot {
    pub(super) title: String,
    pub(super) version: &'static str,
    /// Tells this dashboard from any other, such as one that stood at this address before: numbers of rows begin anew with it.
    pub(super) start: String,
    /// Wall clock, in milliseconds since 1970.
    pub(super) at: u64,
    pub(super) uptime_ms: u64,
    /// The number of the second that is under way; points before it are complete.
    pub(super) second: u64,
    pub(super) viewers: usize,
    pub(super) verdict: Verdict,
    pub(super) minute: Minute,
    pub(super) points: Vec<Point>,
    pub(super) endpoints: Vec<EndpointCard>,
    pub(super) limiter: Option<Limiter>,
    pub(super) retry_budget: Option<u64>,
    pub(super) credentials: Option<Token>,
    pub(super) caches: Vec<Named>,
    pub(super) webhooks: Vec<Named>,
    pub(super) syncs: Vec<SyncView>,
    /// Left out where nothing is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) errors: Option<Rows<Failure>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<Rows<Happening>>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Rows<T> {
    pub(super) rows: Vec<Row<T>>,
    /// How many are kept.
    pub(super) most: usize,
    pub(super) left_out: u64,
}

/// The last 60 complete seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Minute {
    pub(super) calls: u64,
    /// Calls per second over the last five seconds.
    pub(super) rate: f64,
    /// Calls that were answered, be it by a 404, among those that ended otherwise than by their caller; `None` without any.
    pub(super) success: Option<f64>,
    /// Repeats per call.
    pub(super) retries: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) counts: Counts,
}

/// One second of the charts. Percentiles are over the five seconds up to it, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    pub(super) second: u64,
    /// As [`Counts::answered`] and [`Counts::in_vain`].
    pub(super) ok: u32,
    pub(super) failed: u32,
    pub(super) repeats: u32,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct EndpointCard {
    pub(super) name: String,
    pub(super) weight: u32,
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) in_flight: u64,
    pub(super) down: bool,
    pub(super) ejected_ms: Option<u64>,
    pub(super) breaker: Option<BreakerView>,
    /// Attempts in each of the last 60 complete seconds, and how many of them failed.
    pub(super) attempts: Vec<u32>,
    pub(super) failed: Vec<u32>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct BreakerView {
    pub(super) state: &'static str,
    pub(super) until_probe_ms: Option<u64>,
    pub(super) consecutive_failures: u32,
    pub(super) history: Vec<Change>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Change {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) cause: &'static str,
    pub(super) age_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Limiter {
    pub(super) queue: usize,
    pub(super) available: u32,
    pub(super) paused_ms: Option<u64>,
    pub(super) granted: u64,
    pub(super) waited: u64,
    pub(super) refused: u64,
}

/// Anything but the token itself.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Token {
    pub(super) provider: String,
    pub(super) generation: u64,
    pub(super) expires_ms: Option<u64>,
    pub(super) age_ms: Option<u64>,
    pub(super) fallback: bool,
}

/// Figures that another crate serialised.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) stats: Value,
}
