//! One binary: compile time matters.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[cfg(feature = "dashboard")]
mod dashboard;
#[cfg(feature = "prometheus")]
mod documents;
#[cfg(feature = "health")]
mod endpoint_checks;
#[cfg(feature = "health")]
mod health;
#[cfg(feature = "health")]
mod health_probe;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "prometheus")]
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "otlp")]
mod otlp_answers;
#[cfg(feature = "otlp")]
mod otlp_config;
#[cfg(feature = "prometheus")]
mod promtool;
#[cfg(feature = "prometheus")]
mod watched;

use std::time::Duration;

use nudj_client::{Client, Config};
use nudj_mock::MockNudj;
use nudj_tower::observe::Observer;

/// A client of all the mock's instances that waits for milliseconds where the defaults wait for seconds.
#[allow(dead_code, reason = "each feature's tests are built alone too")]
fn client(mock: &MockNudj, observer: impl Observer) -> Client {
    let mut config = Config::with_endpoints(mock.urls());
    config.retry.base_delay = Duration::from_millis(1);
    config.retry.max_delay = Duration::from_millis(5);
    config.rate_limit.max_requests = 100_000;
    Client::builder().config(config).token(mock.token()).observer(std::sync::Arc::new(observer)).build().unwrap()
}

/// The environment variable's value; says what is left out without one, and fails in CI.
#[allow(dead_code, reason = "each feature's tests are built alone too")]
fn needs(test: &str, variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{test}: {variable} is not set");
        eprintln!("left out: {test}: set {variable} or run cargo xtask test");
    }
    value
}
