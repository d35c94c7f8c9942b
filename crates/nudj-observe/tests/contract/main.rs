//! One binary: compile time matters.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[cfg(feature = "dashboard")]
mod dashboard;
