//! For tests: a call's hold on a connection that no task keeps, so that the test says when it moves.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use h2::client::Connection;
use http::uri::{Authority, Scheme};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, DuplexStream},
    sync::oneshot,
    time::Instant,
};
use tokio_test::task::{self, Spawn};

use super::{
    alarm::{self, Alarm, Watchman},
    connection::{Exclusive, Held, Lease},
    drive::KeepsTime,
    endpoint::Endpoint,
    http2,
    make::Maker,
    shared::Shared,
    slots::Kept,
    times::{self, Timekeeper, Times},
    turns::{Traffic, Turns},
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
    pub(super) traffic: Arc<Traffic>,
    /// What tells that somebody keeps the connection.
    pub(super) kept: (Timekeeper, oneshot::Receiver<()>),
}

pub(super) async fn lone_shared() -> LoneShared {
    lone_shared_of(1).await
}

/// Of an endpoint that may have so many.
pub(super) async fn lone_shared_of(most: usize) -> LoneShared {
    let config = HttpConfig { version: HttpVersion::Http2, pool_max_http2_per_host: most, ..HttpConfig::default() };
    let maker = Maker::new(&config).unwrap();
    let endpoint = Endpoint::new(Scheme::HTTP, Authority::from_static("a"), maker).unwrap();
    let (ours, peer) = tokio::io::duplex(1024);
    let (ours, traffic) = Turns::new(ours);
    let (sender, connection) = http2::handshake(ours).await.unwrap();
    let (held, released) = oneshot::channel();
    let (times, timekeeper) = poll_fn(|cx| Poll::Ready(times::times(cx))).await.unwrap();
    let shared = Shared::new(sender, held, None, Some(Arc::clone(&times)), Arc::clone(&traffic));
    let id = endpoint.made_shared(&shared);
    let lease = Lease::shared(endpoint, shared, id, None);
    LoneShared { lease, connection, peer, times, traffic, kept: (timekeeper, released) }
}

/// The calls' side of what keeps their times, and a task that keeps them, and ends when its connection would have to.
pub(super) fn kept_in_a_task<C, K: KeepsTime>(
    both: impl Fn(&Context<'_>) -> Option<(C, K)>,
) -> (C, Spawn<impl Future<Output = ()>>) {
    let (give, taken) = std::sync::mpsc::channel();
    let mut keeper = None;
    let mut task = task::spawn(poll_fn(move |cx| {
        let keeper = keeper.get_or_insert_with(|| {
            let (calls, keeper) = both(cx).expect("there is a runtime");
            give.send(calls).expect("somebody waits for it");
            keeper
        });
        if keeper.is_late() { Poll::Ready(()) } else { Poll::Pending }
    }));
    assert!(task.poll().is_pending());
    (taken.recv().expect("given"), task)
}

/// What a client has sent to `peer` after its preface, by the frames' kinds.
pub(super) async fn kinds_sent(peer: &mut DuplexStream) -> Vec<u8> {
    peer.read_exact(&mut [0; 24]).await.unwrap();
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while let Some(read) = peer.read_exact(&mut head).now_or_never() {
        read.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        peer.read_exact(&mut vec![0; length]).await.unwrap();
        kinds.push(head[3]);
    }
    kinds
}
