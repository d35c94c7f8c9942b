//! The contract every layer keeps: one module per layer, and a matrix over all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[cfg(feature = "attempt")]
mod attempt;
#[cfg(feature = "full")]
mod calls;
#[cfg(feature = "circuit-breaker")]
mod circuit_breaker;
#[cfg(feature = "correlation")]
mod correlation;
#[cfg(feature = "credentials")]
mod credentials;
#[cfg(feature = "credentials")]
mod credentials_rest;
#[cfg(feature = "credentials")]
mod credentials_stale;
#[cfg(feature = "deadline")]
mod deadline;
#[cfg(feature = "full")]
mod ended;
#[cfg(feature = "idempotency")]
mod idempotency;
#[cfg(all(feature = "deadline", feature = "timeout"))]
mod keeper;
#[cfg(any(feature = "metrics", feature = "retry"))]
mod log;
mod matrix;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "rate-limit")]
mod rate_limit;
#[cfg(feature = "retry")]
mod retry;
#[cfg(feature = "round-robin")]
mod round_robin;
#[cfg(feature = "timeout")]
mod timeout;
#[cfg(feature = "full")]
mod tracing;
