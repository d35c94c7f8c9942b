//! The thin hyper service at the bottom of the stack.
//!
//! It sends one request over a pooled connection and collects the answer's body inside the attempt, so that a truncated, endless
//! or oversized body is a failed attempt and not a surprise for the caller later. It follows no redirect and repeats nothing:
//! hyper-util's own hidden retry is off, since what may be sent again is for the retry layer to decide.

mod framing;
mod legacy;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod tls;

pub use self::legacy::{Hyper, HyperFuture};
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub use self::tls::{TlsError, client_config};
