//! A TCP stream that can be asked how it stands, past the runtime, and that writes what is small in one piece.
//!
//! That a kept connection's end has come is known to the operating system at once, to hyper only when some thread of the runtime has
//! polled the socket and the connection's task. A call that comes in between would be sent into the void, and a POST would then have to fail
//! since nobody could say that it was not processed. One look at the socket itself is exact and costs a system call.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
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

/// Up to how many bytes are copied together rather than handed to the system in pieces: `writev` costs it more than `send` and such a copy.
const JOINED: usize = 4096;

/// The stream hyper reads and writes, and a second handle of the same socket to look at it by.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    // Ends with the stream, so that the socket is closed as promptly as ever. None when the process is out of handles.
    twin: Option<Arc<Socket>>,
    /// Head and body of a small request, to be written as one piece.
    joined: Vec<u8>,
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
    TokioIo::new(Watched { stream, twin, joined: Vec::new() })
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
        Pin::new(&mut self.stream).poll_read(cx, buf)
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
mod tests {
    use std::{
        future::poll_fn,
        io::{IoSlice, Read, Write},
        net,
    };

    use super::*;

    async fn pair() -> (TokioIo<Watched>, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (watched(TokioIo::new(stream)), listener.accept().unwrap().0)
    }

    #[tokio::test]
    async fn what_came_is_seen_although_no_runtime_has_looked() {
        let (ours, mut peer) = pair().await;
        let watch = Watch::of(&ours.inner().connected()).unwrap();
        assert_eq!(watch.look(), Unread::Nothing);
        peer.write_all(b"x").unwrap();
        // Loopback hands it over within the call.
        assert_eq!(watch.look(), Unread::Bytes);
        let (ours, peer) = pair().await;
        let watch = Watch::of(&ours.inner().connected()).unwrap();
        peer.shutdown(net::Shutdown::Write).unwrap();
        assert_eq!(watch.look(), Unread::End);
    }

    #[tokio::test]
    async fn the_second_handle_does_not_keep_the_socket_open() {
        let (ours, mut peer) = pair().await;
        let watch = Watch::of(&ours.inner().connected()).unwrap();
        drop(ours);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        assert_eq!(watch.look(), Unread::End);
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_whether_they_are_joined_or_not() {
        for body in [0, 1, JOINED - 4, JOINED - 3, 3 * JOINED] {
            let (mut ours, mut peer) = pair().await;
            let sent = [b"head".to_vec(), vec![b'x'; body], b"tail".to_vec()].concat();
            let mut at = 0;
            while at < sent.len() {
                let (head, rest) = sent[at..].split_at(4.min(sent.len() - at));
                let pieces = [IoSlice::new(head), IoSlice::new(rest)];
                at += poll_fn(|cx| Pin::new(ours.inner_mut()).poll_write_vectored(cx, &pieces)).await.unwrap();
            }
            drop(ours);
            let mut came = Vec::new();
            peer.read_to_end(&mut came).unwrap();
            assert_eq!(came, sent, "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_kept_for_joining_does_not_grow_with_what_is_sent() {
        let (mut ours, peer) = pair().await;
        let large = vec![b'x'; 16 * JOINED];
        for _ in 0..8 {
            for body in [&large[..JOINED - 4], &large] {
                let pieces = [IoSlice::new(b"head"), IoSlice::new(body)];
                poll_fn(|cx| Pin::new(ours.inner_mut()).poll_write_vectored(cx, &pieces)).await.unwrap();
                peer.set_nonblocking(true).unwrap();
                while matches!((&peer).read(&mut [0; 4096]), Ok(read) if read > 0) {}
            }
        }
        assert!(
            (JOINED - 4..=2 * JOINED).contains(&ours.inner().joined.capacity()),
            "{}",
            ours.inner().joined.capacity()
        );
    }
}
