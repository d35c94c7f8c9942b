//! The mock's contract, asked through its sockets and through its in-memory form.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod catalogue;
mod challenges;
mod client;
mod connections;
mod duplicates;
mod http2;
mod in_memory;
mod rewards;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod users;
mod webhooks;
