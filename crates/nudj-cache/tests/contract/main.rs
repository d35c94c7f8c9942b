//! What the cache promises, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod levels;
mod typed;
