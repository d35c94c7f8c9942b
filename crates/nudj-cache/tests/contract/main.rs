//! What the cache promises, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod changes;
mod flights;
mod http_rules;
mod invalidations;
mod languages;
mod layer_shape;
mod level_contract;
mod levels;
mod origin;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod typed;

/// Says that a test needs what is not here; in CI that is a failure.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn left_out(test: &str, variable: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {variable} must be set in CI");
    // Past the test harness, which shows what a test prints only when it fails.
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("left out: {test}: set {variable} or run cargo xtask test\n"),
    );
}
