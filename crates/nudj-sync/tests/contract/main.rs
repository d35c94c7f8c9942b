//! What the patterns promise, seen from outside: the mock through the real client.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[cfg(feature = "batch")]
mod batch;
#[cfg(feature = "bidirectional")]
mod bidirectional;
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
mod cdc;
#[cfg(feature = "event")]
mod event;
#[allow(dead_code, reason = "which tests use what depends on the features")]
mod nudj;
#[cfg(any(feature = "outbox-postgres", feature = "cdc-postgres"))]
mod postgres_server;
#[cfg(feature = "request-response")]
mod request_response;
#[cfg(any(feature = "batch", feature = "event", feature = "cdc-sqlite"))]
mod status;

/// Says that a test needs what is not here; in CI that is a failure.
#[allow(dead_code, reason = "which tests use it depends on the features")]
fn left_out(test: &str, variable: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {variable} must be set in CI");
    // Past the test harness, which shows what a test prints only when it fails.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("left out: {test}: set {variable} or run cargo xtask test\n"),
    );
}
