//! Every metric there is: name, kind, unit, and what it says.

use metrics::Unit;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// One metric, under the name that it has for Prometheus.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, such as `nudj_api_requests_total`.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// Its unit, where it has one.
    pub unit: Option<Unit>,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $unit:expr, $help:literal;)+) => {
        $(pub(crate) static $id: Metric =
            Metric { name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help };)+
        /// All of them, in the order of the [module's table](super).
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
}

const SECONDS: Option<Unit> = Some(Unit::Seconds);
const BYTES: Option<Unit> = Some(Unit::Bytes);

catalogue! {
    REQUESTS = Counter "nudj_api_requests_total" ["operation", "status"] None,
        "Calls that ended, by operation and by status: a status or, of _OTHER, its class such as 2xx; ok of a protocol without; the kind of error; or dropped.";
    DURATION = Histogram "nudj_api_duration_seconds" ["operation"] SECONDS,
        "How long calls took, waits and repeats included.";
    HTTP_DURATION = Histogram "http_client_request_duration_seconds"
        ["http_request_method", "url_template", "http_response_status_code", "error_type", "server_address", "server_port"] SECONDS,
        "Duration of HTTP client requests, by the OpenTelemetry conventions; one per call, at the endpoint tried last, what a cache answered or a layer refused included.";
    ACTIVE = Gauge "http_client_active_requests" [] None, "Calls under way.";
    ATTEMPTS = Counter "nudj_attempts_total" ["endpoint", "outcome"] None, "Tries at an endpoint, by what the answer meant.";
    RETRIES = Counter "nudj_retries_total" ["kind"] None, "Repeats: after a backoff, or at once on another endpoint.";
    AMPLIFICATION = Gauge "nudj_retry_amplification_ratio" [] None, "Tries per call over the last minute.";
    BUDGET_LEFT = Gauge "nudj_retry_budget_left" [] None, "Repeats that the budget would grant now.";
    BUDGET_EXHAUSTED = Counter "nudj_retry_budget_exhausted_total" [] None, "Repeats not sent because the budget was spent.";
    LIMITER_WAIT = Histogram "nudj_limiter_wait_seconds" [] SECONDS, "How long calls stood in the limiter's queue, if they had to.";
    LIMITER_REFUSALS = Counter "nudj_limiter_refusals_total" ["reason"] None, "Calls that the limiter refused.";
    LIMITER_PAUSES = Counter "nudj_limiter_pauses_total" [] None, "Pauses that the server asked for.";
    LIMITER_PAUSE_LEFT = Gauge "nudj_limiter_pause_remaining_seconds" [] SECONDS, "Until the pause ends; 0 when there is none.";
    LIMITER_QUEUE = Gauge "nudj_limiter_queue_depth" [] None, "Calls that wait in the limiter's queue.";
    LIMITER_AVAILABLE = Gauge "nudj_limiter_available" [] None, "Calls that would pass the limiter now.";
    BREAKER_STATE = Gauge "nudj_circuit_breaker_state" ["endpoint", "state"] None,
        "1 for the state the breaker is in, 0 for the others; of _OTHER, how many breakers are in it.";
    BREAKER_TRANSITIONS = Counter "nudj_circuit_breaker_transitions_total" ["endpoint", "from", "to"] None, "Changes of a breaker's state.";
    BREAKER_REFUSALS = Counter "nudj_circuit_breaker_refusals_total" ["endpoint"] None, "Calls that a breaker refused.";
    ENDPOINT_CALLS = Counter "nudj_endpoint_calls_total" ["endpoint"] None, "Calls sent to an endpoint.";
    ENDPOINT_FAILURES = Counter "nudj_endpoint_failures_total" ["endpoint"] None, "Calls to an endpoint that ended in a failure.";
    ENDPOINT_IN_FLIGHT = Gauge "nudj_endpoint_in_flight" ["endpoint"] None, "Calls to an endpoint that are under way.";
    ENDPOINT_AVAILABLE = Gauge "nudj_endpoint_available" ["endpoint"] None,
        "1 when the endpoint takes calls: breaker not open, not ejected, not marked down; of _OTHER, how many do; NaN once the client is gone.";
    EJECTIONS = Counter "nudj_endpoint_ejections_total" ["endpoint"] None, "Times the balancer took an endpoint out.";
    REFRESHES = Counter "nudj_credential_refreshes_total" ["provider", "result"] None, "Renewals of a credential, renewed or failed.";
    CREDENTIAL_EXPIRES = Gauge "nudj_credential_expires_in_seconds" ["provider"] SECONDS,
        "Until the current credential expires; absent before the first that does, +Inf while the current one does not.";
    CACHE_HITS = Counter "nudj_cache_hits_total" ["level"] None, "Lookups that a level of the cache answered.";
    CACHE_MISSES = Counter "nudj_cache_misses_total" ["level"] None, "Lookups that a level of the cache had nothing for.";
    CACHE_ERRORS = Counter "nudj_cache_errors_total" ["level"] None, "Operations of a cache level that failed or took too long.";
    CACHE_ENTRIES = Gauge "nudj_cache_entries" ["level"] None, "Entries that a cache level holds, where it knows.";
    CACHE_UP = Gauge "nudj_cache_up" ["level"] None, "1 when the cache level is being asked.";
    WEBHOOKS = Counter "nudj_webhook_deliveries_total" ["result"] None, "Webhook deliveries, by what became of them.";
    WEBHOOK_QUEUE = Gauge "nudj_webhook_queue_depth" [] None, "Webhook deliveries recorded and not handled yet.";
    SYNC_LAG = Gauge "nudj_sync_lag_seconds" ["stream"] SECONDS, "How far a synchronisation is behind its source, in time.";
    SYNC_LAG_BYTES = Gauge "nudj_sync_lag_bytes" ["stream"] BYTES, "How far a synchronisation is behind its source, in its log.";
    SYNC_DONE = Gauge "nudj_sync_items_done" ["stream"] None, "Items of the current run that are done.";
    SYNC_PLANNED = Gauge "nudj_sync_items_planned" ["stream"] None, "Items of the current run.";
    DEAD_LETTERS = Gauge "nudj_dead_letters" ["source"] None, "Items given up and kept for somebody to look at.";
}

/// Limits of the histograms' buckets in seconds, as the OpenTelemetry conventions advise.
pub const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
