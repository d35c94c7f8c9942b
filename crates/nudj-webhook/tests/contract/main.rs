//! What the receiver promises, as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod answers;
mod bodies;
#[cfg(all(feature = "cache", feature = "redis", feature = "sqlite"))]
mod cache_process;
#[cfg(feature = "cache")]
mod cached_users;
mod child;
mod clock_changes;
mod faulty;
mod guarded;
mod handlers;
mod harness;
mod inboxes;
mod leases;
mod official_signers;
mod panics;
#[cfg(feature = "redis")]
mod redis_guard;
#[cfg(feature = "redis")]
mod redis_server;
mod repeats;
#[cfg(feature = "sqlite")]
mod restarts;
#[cfg(feature = "server")]
mod serving;
mod settling;
mod shutdown;
mod wire;
