//! What the cache promises, seen from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod changes;
mod flights;
mod http_rules;
mod layer_shape;
mod levels;
mod origin;
mod typed;
