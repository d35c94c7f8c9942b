//! HTTP/2: a connection that all calls share, and a call's part in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Waker,
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    exchange::Failure,
    http2::{self, Answer},
    times::Times,
    turns::Traffic,
};
use crate::transport::watched::{Unread, Watch};

/// For as many calls as the peer allows. The last clone's end ends the connection.
pub(super) type Multiplexed = Arc<Shared>;

/// What all calls on a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    sender: Mutex<SendRequest<Bytes>>,
    /// The same, to be asked without that lock.
    asked: SendRequest<Bytes>,
    /// Dropped with the last clone, which tells the connection's keeper to end it.
    keeper: oneshot::Sender<()>,
    watch: Option<Watch>,
    times: Option<Arc<Times>>,
    traffic: Arc<Traffic>,
    has_sent: AtomicBool,
    /// Whether there were others when it was made. Written under the pool's lock, as it is read.
    is_further: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        sender: SendRequest<Bytes>,
        keeper: oneshot::Sender<()>,
        watch: Option<Watch>,
        times: Option<Arc<Times>>,
        traffic: Arc<Traffic>,
    ) -> Multiplexed {
        Arc::new(Self {
            asked: sender.clone(),
            sender: Mutex::new(sender),
            keeper,
            watch,
            times,
            traffic,
            has_sent: AtomicBool::new(false),
            is_further: AtomicBool::new(false),
        })
    }

    /// Whether this is the connection's first request. Of two at once both may be told so.
    pub(super) fn is_first(&self) -> bool {
        let first = !self.has_sent.load(Relaxed);
        if first {
            self.has_sent.store(true, Relaxed);
        }
        first
    }

    /// As with one call at a time; but a peer may well write of its own accord here.
    pub(super) fn is_open(&self) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.look() != Unread::End)
    }

    /// It was made since those there were full.
    pub(super) fn set_further(&self) {
        self.is_further.store(true, Relaxed);
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// How many calls it takes at once, as its peer has said last; `None` once it has ended. A further one takes one until then: those who would
    /// go there too soon have streams to wait for elsewhere.
    #[inline]
    pub(super) fn takes(connection: &Multiplexed) -> Option<usize> {
        if !connection.alive() {
            return None;
        }
        Some(if Self::is_unheard(connection) { 1 } else { connection.asked.current_max_send_streams() })
    }

    /// Whether it is a further one whose peer has not said yet how many calls it takes.
    #[inline]
    pub(super) fn is_unheard(connection: &Multiplexed) -> bool {
        connection.is_further.load(Relaxed) && !connection.traffic.has_been_heard()
    }

    /// As [`takes`](Self::takes), and `None` also once its peer wants no more calls: for those who wait, and do not send it one to see.
    pub(super) fn takes_more(connection: &Multiplexed) -> Option<usize> {
        let takes = Self::takes(connection)?;
        http2::ready_again(&mut connection.sender.lock()).ok()?;
        Some(takes)
    }

    /// Whether it has not ended. One that takes no more calls says so when it is sent one.
    pub(super) fn alive(&self) -> bool {
        !self.keeper.is_closed()
    }
}

/// One of those on a shared connection.
#[derive(Debug)]
pub(super) struct Joined {
    connection: Multiplexed,
    id: u64,
    /// Where its time is written.
    time: Option<usize>,
    /// How often the connection had written when it was given the request.
    written: u64,
    /// Whether the exchange came to its end.
    pub(super) was_answered: bool,
}

impl Joined {
    pub(super) fn new(connection: Multiplexed, id: u64) -> Self {
        Self { connection, id, time: None, written: 0, was_answered: false }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn connection(&self) -> &Shared {
        &self.connection
    }

    /// Puts the request into a stream.
    pub(super) fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        self.written = self.connection.traffic.written();
        http2::send(&self.connection.sender, request)
    }

    pub(super) fn end_by(&mut self, at: Instant, task: &Waker) -> bool {
        self.time = self.connection.times.as_ref().and_then(|times| times.set(at, task));
        self.time.is_some()
    }

    /// It is `task` that waits now.
    pub(super) fn waits_in(&self, task: &Waker) {
        if let (Some(times), Some(key)) = (&self.connection.times, self.time) {
            times.set_task(key, task);
        }
    }

    /// Whether the connection has written nothing since it was given the request: not a byte of that either.
    pub(super) fn has_written_nothing(&self) -> bool {
        self.connection.traffic.written() == self.written
    }

    /// Whether the connection was ended since its peer gave no sign of life.
    pub(super) fn is_silent(&self) -> bool {
        self.connection.times.as_ref().is_some_and(|times| times.is_silent())
    }
}

impl Drop for Joined {
    #[inline]
    fn drop(&mut self) {
        if let (Some(times), Some(key)) = (&self.connection.times, self.time) {
            times.clear(key);
        }
    }
}
