//! Sends a request again when that may help, and never more than a failing server can bear.
//!
//! Built on tower's [`Retry`](tower::retry::Retry); ours are the policy, the schedule and the budget.
mod backoff;
mod budget;
mod config;
mod decision;
mod keep;
mod layer;
mod policy;
mod replay;
mod schedule;
mod service;

#[cfg(feature = "backoff")]
pub use self::backoff::from_backoff;
pub use self::{
    backoff::Backoff,
    budget::{Reservation, RetryBudget},
    config::{BudgetConfig, Jitter, RetryConfig},
    keep::{Keep, KeepClone, KeepHttp, KeepReplay},
    layer::{ReplayingRetryLayer, RetryLayer},
    policy::{RetryPolicy, RetryWait},
    replay::{DEFAULT_REPLAY_CAP, ReplayBody},
    schedule::Exponential,
    service::{BoxErrors, BoxErrorsFuture, ReplayingRetry, Retry},
};
