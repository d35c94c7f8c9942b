//! A stream that is read in turns with those who wait for what comes.
//!
//! Whoever reads an HTTP/2 connection to its end wakes all whose answers have come, and they all run before it writes what they ask next: the
//! peer waits while they work, and they wait while it works. With a turn's pause between two reads each side has something to do: on two
//! cores, client and server, that is the greater part of what separates this transport from hyper's client under load.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// After how many bytes it is the others' turn: more than one small answer. Of one alone nothing would be gained.
const TURN: usize = 1024;

/// Pauses the reader for a turn of the others after [`TURN`] bytes.
#[derive(Debug)]
pub(super) struct Turns<T> {
    io: T,
    /// How much was read in this turn.
    read: usize,
    /// Whether the peer's end was read. From then on nothing is written, as nobody waits for an answer any more: what was queued can go over
    /// another connection, and must not go over this one as well.
    has_ended: bool,
    traffic: Arc<Traffic>,
}

/// What has gone over the stream: how often something was read, and how often something was or may have been written.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    has_been_heard: AtomicBool,
}

impl Traffic {
    /// Whether the connection has seen what came first. RFC 9113, section 3.4: that is what its peer takes.
    pub(super) fn has_been_heard(&self) -> bool {
        self.has_been_heard.load(Relaxed)
    }

    /// The connection has seen all that was read up to now.
    pub(super) fn polled(&self) {
        if !self.has_been_heard() && self.read() > 0 {
            self.has_been_heard.store(true, Relaxed);
        }
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }
}

/// One more, by the only one who writes it.
fn count(times: &AtomicU64) {
    times.store(times.load(Relaxed).wrapping_add(1), Relaxed);
}

impl<T> Turns<T> {
    pub(super) fn new(io: T) -> (Self, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        (Self { io, read: 0, has_ended: false, traffic: Arc::clone(&traffic) }, traffic)
    }

    fn written(&mut self, write: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>>
    where
        T: Unpin,
    {
        if self.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let polled = write(Pin::new(&mut self.io));
        // An error too: under TLS a part may have gone out before.
        if polled.is_ready() {
            count(&self.traffic.written);
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Turns<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read >= TURN {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Poll::Ready(read) = &polled {
            let count_read = buf.filled().len() - before;
            self.has_ended |= read.is_ok() && count_read == 0 && buf.remaining() > 0;
            self.read += count_read;
            count(&self.traffic.read);
        } else {
            self.read = 0;
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Turns<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(|io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_test::{io::Builder, task};

    use super::*;

    #[test]
    fn after_each_turn_the_reader_pauses_once_and_nothing_is_lost() {
        let few = [1; TURN - 1];
        let many = [2; 3 * TURN];
        let (mut stream, traffic) = Turns::new(Builder::new().read(&few).read(&many).read(&few).build());
        let mut buf = [0; 8 * TURN];
        let mut read = task::spawn(async { stream.read(&mut buf).await.unwrap() });
        assert_eq!(read.poll(), Poll::Ready(few.len()));
        drop(read);
        let mut read = task::spawn(async { stream.read(&mut buf).await.unwrap() });
        assert_eq!(read.poll(), Poll::Ready(many.len()), "short of a turn it goes on");
        drop(read);
        let mut read = task::spawn(async { stream.read(&mut buf).await.unwrap() });
        assert!(read.poll().is_pending() && read.is_woken(), "the others' turn, and then its own again");
        assert_eq!(read.poll(), Poll::Ready(few.len()));
        drop(read);
        let mut end = task::spawn(async { stream.read(&mut buf).await.unwrap() });
        assert_eq!(end.poll(), Poll::Ready(0), "an end is told at once");
        assert_eq!((traffic.read(), traffic.written()), (4, 0));
    }

    #[test]
    fn after_the_peers_end_nothing_is_written() {
        let (mut stream, traffic) = Turns::new(Builder::new().write(b"before").build());
        let mut write = task::spawn(async { stream.write(b"before").await.unwrap() });
        assert_eq!(write.poll(), Poll::Ready(6));
        drop(write);
        let mut end = task::spawn(async { stream.read(&mut [0; 8]).await.unwrap() });
        assert_eq!(end.poll(), Poll::Ready(0));
        drop(end);
        let mut write = task::spawn(async { stream.write(b"after").await.map_err(|error| error.kind()) });
        assert_eq!(write.poll(), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        assert_eq!(traffic.written(), 1);
    }
}
