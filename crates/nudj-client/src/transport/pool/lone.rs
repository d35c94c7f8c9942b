//! For tests: a call's hold on a connection that no task keeps, so that the test says when it moves.

use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::Bytes;
use h2::client::Connection;
use http::uri::{Authority, Scheme};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{io::DuplexStream, sync::oneshot, time::Instant};
use tokio_test::task;

use super::{
    alarm::{self, Alarm, Watchman},
    connection::{Exclusive, Held, Lease},
    endpoint::Endpoint,
    http2,
    make::Maker,
    shared::Shared,
    slots::Kept,
    times::{self, Timekeeper, Times},
    turns::Turns,
};
use crate::config::{HttpConfig, HttpVersion};

pub(super) struct Lone {
    pub(super) endpoint: Arc<Endpoint>,
    /// In use.
    pub(super) lease: Lease,
    pub(super) connection: http1::Connection<TokioIo<DuplexStream>, Full<Bytes>>,
    pub(super) peer: DuplexStream,
    pub(super) alarm: Alarm,
    /// What tells that somebody keeps the connection.
    pub(super) kept: (Watchman, oneshot::Receiver<()>),
}

pub(super) async fn lone() -> Lone {
    let maker = Maker::new(&HttpConfig::default()).unwrap();
    let endpoint = Endpoint::new(Scheme::HTTP, Authority::from_static("a"), maker).unwrap();
    let (ours, peer) = tokio::io::duplex(1024);
    let (mut sender, mut connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
    // The first poll makes it ready to take a request.
    assert!(task::spawn(&mut connection).poll().is_pending());
    sender.ready().await.unwrap();
    let (held, released) = oneshot::channel();
    let (alarm, watchman) = poll_fn(|cx| Poll::Ready(alarm::alarm(cx))).await.unwrap();
    let exclusive = Box::new(Exclusive { sender, held, watch: None, alarm: Some(alarm.clone()) });
    let kept = Kept { connection: exclusive, until: None, since: Instant::now() };
    let mut lease = Lease::fresh(Arc::clone(&endpoint), kept);
    assert!(matches!(lease.begin(), Held::Used(_)));
    Lone { endpoint, lease, connection, peer, alarm, kept: (watchman, released) }
}

/// Over HTTP/2.
pub(super) struct LoneShared {
    pub(super) lease: Lease,
    pub(super) connection: Connection<Turns<DuplexStream>, Bytes>,
    pub(super) peer: DuplexStream,
    pub(super) times: Arc<Times>,
    /// What tells that somebody keeps the connection.
    pub(super) kept: (Timekeeper, oneshot::Receiver<()>),
}

pub(super) async fn lone_shared() -> LoneShared {
    let config = HttpConfig { version: HttpVersion::Http2, ..HttpConfig::default() };
    let maker = Maker::new(&config).unwrap();
    let endpoint = Endpoint::new(Scheme::HTTP, Authority::from_static("a"), maker).unwrap();
    let (ours, peer) = tokio::io::duplex(1024);
    let (ours, traffic) = Turns::new(ours);
    let (sender, connection) = http2::handshake(ours).await.unwrap();
    let (held, released) = oneshot::channel();
    let (times, timekeeper) = poll_fn(|cx| Poll::Ready(times::times(cx))).await.unwrap();
    let shared = Shared::new(sender, held, None, Some(Arc::clone(&times)), traffic);
    let id = endpoint.made_shared(&shared);
    let lease = Lease::shared(endpoint, shared, id, None);
    LoneShared { lease, connection, peer, times, kept: (timekeeper, released) }
}
