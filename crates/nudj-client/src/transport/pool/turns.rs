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
        atomic::{AtomicU64, Ordering::Relaxed},
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
    traffic: Arc<Traffic>,
}

/// What has gone over the stream: how often something was read, and written.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
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
        (Self { io, read: 0, traffic: Arc::clone(&traffic) }, traffic)
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(_)) = polled {
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
        if polled.is_ready() {
            self.read += buf.filled().len() - before;
            count(&self.traffic.read);
        } else {
            self.read = 0;
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Turns<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
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
    use tokio::io::AsyncReadExt;
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
}
