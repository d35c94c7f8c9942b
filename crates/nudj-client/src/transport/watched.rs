//! A TCP stream that can be asked how it stands, past the runtime, that writes what is small in one piece, and that asks the runtime
//! for what came only when something may have come.
//!
//! That a kept connection's end has come is known to the operating system at once, to the program only when some thread of the runtime has
//! polled the socket and the connection's task. A call that comes in between would be sent into the void, and a POST would then have to fail
//! since nobody could say that it was not processed. One look at the socket itself is exact and costs a system call.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    task::{Context, Poll, Waker},
};

use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use socket2::{SockRef, Socket};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::bell::Bell;

/// Up to how many bytes are copied together rather than handed to the system in pieces: `writev` costs it more than `send` and such a copy.
const JOINED: usize = 4096;

/// The stream a connection reads and writes, and a second handle of the same socket to look at it by.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    // Ends with the stream, so that the socket is closed as promptly as ever. None when the process is out of handles.
    twin: Option<Arc<Socket>>,
    /// Head and body of a small request, to be written as one piece.
    joined: Vec<u8>,
    reader: Option<Reader>,
}

/// Who reads, as the runtime knows it.
///
/// hyper looks for what came five times in an exchange, of which one finds something. The runtime takes a lock each time to note whom to wake; here
/// it is told once, and the other looks are one at this.
#[derive(Debug)]
struct Reader {
    /// Rang when something may have come since the runtime was asked last.
    news: Arc<Bell>,
    /// What the runtime wakes: `news`, which wakes the task.
    waker: Waker,
}

impl Reader {
    fn of(task: &Waker) -> Self {
        let news = Bell::of(task, true);
        Self { waker: Waker::from(Arc::clone(&news)), news }
    }

    /// Asks when something may have come since `ask` was pending last.
    fn look<T>(&self, ask: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if !self.news.rang.load(Relaxed) {
            return Poll::Pending;
        }
        // Before it asks, so that what comes meanwhile is asked for again.
        self.news.rang.swap(false, AcqRel);
        let polled = ask(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            // Of what else is there nobody will be told.
            self.news.rang.store(true, Release);
        }
        polled
    }
}

/// Looks at a connection's socket; keeps nothing open.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Watch(Weak<Socket>);

/// What lies in the socket, unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Unread {
    Nothing,
    Bytes,
    /// The peer's end, or an error.
    End,
}

pub(super) fn watched(stream: TokioIo<TcpStream>) -> TokioIo<Watched> {
    let stream = stream.into_inner();
    let twin = SockRef::from(&stream).try_clone().ok().map(Arc::new);
    TokioIo::new(Watched { stream, twin, joined: Vec::new(), reader: None })
}

impl Watch {
    /// Of the connection that says `connected`, where it can be looked at.
    pub(in crate::transport) fn of(connected: &Connected) -> Option<Self> {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove()
    }

    /// Reads nothing and waits for nothing.
    pub(in crate::transport) fn look(&self) -> Unread {
        let Some(socket) = self.0.upgrade() else { return Unread::End };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Unread::End,
            Ok(_) => Unread::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::End,
        }
    }
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        match &self.twin {
            Some(twin) => self.stream.connected().extra(Watch(Arc::downgrade(twin))),
            None => self.stream.connected(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, reader, .. } = &mut *self;
        // Another task than before is another reader: a handshake may be done by one task, and the exchanges by another.
        if reader.as_ref().is_none_or(|reader| !reader.news.task.will_wake(cx.waker())) {
            *reader = None;
        }
        let reader = reader.get_or_insert_with(|| Reader::of(cx.waker()));
        reader.look(|cx| Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() <= JOINED {
            let Self { stream, joined, .. } = &mut *self;
            joined.clear();
            bufs.iter().for_each(|buf| joined.extend_from_slice(buf));
            return Pin::new(stream).poll_write(cx, joined);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
