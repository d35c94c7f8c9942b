//! How many connections an endpoint has, and of which kind.

use std::time::Duration;

/// How many, and for how long.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport::pool) struct Limits {
    /// Connections at once, those being made included.
    pub(in crate::transport::pool) max_open: usize,
    /// Those of them that calls share.
    pub(in crate::transport::pool) max_shared: usize,
    /// Unused HTTP/1.1 connections that are kept.
    pub(in crate::transport::pool) max_idle: usize,
    /// Calls that wait for a connection.
    pub(in crate::transport::pool) max_waiting: usize,
    /// How long a connection is kept that nobody uses.
    pub(in crate::transport::pool) idle_timeout: Duration,
    /// How old a connection may be when a call begins on it.
    pub(in crate::transport::pool) max_age: Option<Duration>,
}

/// What is known of the endpoint, which decides how many connections are made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport::pool) enum Protocol {
    /// TLS will tell: one connection is made, the others wait for what it finds.
    Unknown,
    /// One for each call that waits.
    Http1,
    /// One for all, and a further one when that is full.
    Http2,
}
