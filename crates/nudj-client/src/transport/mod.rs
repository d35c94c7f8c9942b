//! The thin hyper service at the bottom of the stack.
//!
//! It sends one request over a pooled connection and collects the answer's body inside the attempt, so that a truncated, endless
//! or oversized body is a failed attempt and not a surprise for the caller later. It follows no redirect and repeats nothing:
//! hyper-util's own hidden retry is off, since what may be sent again is for the retry layer to decide. Only what was never
//! written, or what an HTTP/2 peer says it did not process, is sent once more.
//!
//! Two transports stand below it, chosen by [`HttpConfig::transport`](crate::config::HttpConfig::transport): `pool`, over
//! hyper's and h2's connections, and `legacy`, hyper-util's client.

mod bell;
mod bound;
mod connector;
mod ended;
mod framing;
mod hyper;
mod inflate;
mod legacy;
mod outgoing;
mod pool;
mod reading;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod tls;
mod watched;
mod wire;

pub use self::hyper::{Hyper, HyperFuture};
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub use self::tls::{TlsError, client_config};
pub(crate) use self::{bound::BoundLayer, connector::HAS_TLS, framing::strip as strip_framing};
