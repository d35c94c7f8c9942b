//! The transport over connections of its own: hyper's for HTTP/1.1, h2's for HTTP/2.
//!
//! Keeps connections per endpoint and gives each call one: to HTTP/1.1 the one used last, over HTTP/2 one for all, or the oldest that has room. The stack
//! over hyper-util's legacy client takes two fifths more instructions and 27 allocations a call to 17, and does not bound connections,
//! those who wait for one, nor the age of either.
//!
//! ```text
//!  call ── checkout ──┬─ idle or shared ───────────────── send ── head ── body's end ── back
//!                     └─ wait: the first made or freed ──┘  │       └── dropped, broken: closed
//!          (one task makes and keeps each connection)       └── not written, or not processed by the peer: once more
//! ```
//!
//! - **Dead connections.** A connection whose end is known is never used. Of one unused for a millisecond or more the socket itself
//!   is looked at, past the runtime, so that an end the operating system knows of is known here too; that takes a second handle per
//!   connection. A request of which nothing was written goes over another connection. One of which a byte was written is never sent again, save where
//!   an HTTP/2 peer says that it did not process it: on a new connection after a GOAWAY, once more in its turn after REFUSED_STREAM.
//! - **Over HTTP/2** each call puts its request into a stream itself and waits there; between two reads of the connection those have a turn whose
//!   answers have come, so that the peer has something to do while they go on.
//! - **Ids over HTTP/2.** What is new in each call stays out of HPACK's table, where it would drive out what is the same in each.
//! - **On cancel.** A call that waits gives up its place, and a connection granted meanwhile goes to the next. A call under way
//!   closes its HTTP/1.1 connection, or resets its HTTP/2 stream; so does an answer that is whole before a long request was sent.
//! - **An attempt's time**, where it is on offer (`nudj_tower::timeout::Keeper`), is kept by the connection's task, with one timer from call
//!   to call. A call that is late ends with its HTTP/1.1 connection, or is woken to be ended by its layer, over HTTP/2.
//! - **On panic** or the end of the runtime that keeps a connection, its place is free again and those waiting are told.
//! - **Errors** are [`TransportError`](nudj_tower::classify::TransportError)s: `Connect` (also where
//!   within `http.pool_max_wait` all connections were still being made), `Unsent`, `Busy` (none came free in that time, or too many
//!   wait), `Closed`, `Exchange`, `InvalidRequest`.
//! - **Bounds.** `http.pool_max_per_host` connections, `pool_max_idle_per_host` kept, `pool_max_waiting` calls that wait, each for
//!   `pool_max_wait` at most; `connect_timeout` covers address, TCP and TLS. Over HTTP/2 there is one connection, or
//!   `pool_max_http2_per_host`. A further one is made when those there are full, takes one call until its peer has said how many it takes, and is not tried
//!   again for a second when it could not be made or ended without an answer. Calls beyond the streams that the peer allows wait in the same way for one
//!   of those to end.
//!
//! Of hyper-util's `client::pool` nothing is used. Its parts have no names, so a struct cannot hold them but in a box. `cache`
//! takes each connection back on drop, also in the midst of an exchange, and has neither discard, age nor limit; a limit
//! below it leaves callers waiting at the connector while connections come free. `singleton` polls a TLS handshake under
//! its lock, and any clone with a dead connection throws away its live successor. What `negotiate` and `map` do is a line or two here.
//! hyper-util makes the connections themselves, with its happy eyeballs.

mod alarm;
mod body;
mod connection;
mod drive;
mod endpoint;
mod error;
mod exchange;
mod http2;
mod keep_alive;
#[cfg(test)]
mod lone;
mod make;
mod service;
mod shared;
mod slots;
mod sweep;
mod timer;
mod times;
mod turns;
mod under_way;

pub(super) use self::{
    error::PoolError,
    service::{Bound, Pool},
};
