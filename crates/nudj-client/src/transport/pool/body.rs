use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connection::Lease;

/// An answer's body, which keeps its connection until the end was read. Dropped earlier, or broken, it closes the connection.
#[derive(Debug)]
pub(in crate::transport) struct PooledBody<B> {
    body: B,
    lease: Option<Lease>,
}

impl<B: Body> PooledBody<B> {
    pub(super) fn new(body: B, lease: Lease) -> Self {
        if body.is_end_stream() {
            lease.finish();
            return Self { body, lease: None };
        }
        Self { body, lease: Some(lease) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for PooledBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if let Some(lease) = &self.lease {
                lease.waits_in(cx.waker());
            }
            return Poll::Pending;
        };
        match &frame {
            Some(Err(_)) => self.lease = None,
            // With the last of the bytes that were announced, without another poll to be told so.
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => {
                if let Some(lease) = self.lease.take() {
                    lease.finish();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        // Not the body's own word alone: over HTTP/2 the end may come between two looks, and whoever stopped then would keep the connection.
        self.lease.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use http::Request;
    use http_body_util::{BodyExt, Full};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;
    use crate::transport::pool::{
        connection::Held,
        lone::{Lone, lone},
    };

    /// After each frame of this answer: what it was, and whether the connection is there for the next call.
    async fn frames(answer: &str) -> Vec<(Option<Bytes>, bool)> {
        let Lone { endpoint, mut lease, connection, mut peer, alarm, kept: _kept } = lone().await;
        tokio::spawn(connection);
        let Held::Used(kept) = lease.begin() else { panic!("it takes one call at a time") };
        let sent = kept.connection.sender.try_send_request(Request::new(Full::default()));
        assert!(lease.end_by(Instant::now() + Duration::from_secs(60), Waker::noop()));
        let answering = async {
            assert_ne!(peer.read(&mut [0; 1024]).await.unwrap(), 0);
            peer.write_all(answer.as_bytes()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(sent, answering);
        let mut body = PooledBody::new(answer.unwrap().into_body(), lease);
        let mut seen = Vec::new();
        loop {
            let frame = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap_or_default());
            let ended = frame.is_none();
            let is_at_hand = endpoint.at_hand().is_some();
            assert_eq!(alarm.is_set(), !is_at_hand, "the call's time goes with the call");
            seen.push((frame, is_at_hand));
            if ended {
                return seen;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_keeps_no_time() {
        let Lone { mut lease, connection, peer: _peer, kept: _kept, .. } = lone().await;
        let task = tokio::spawn(connection);
        let soon = Instant::now() + Duration::from_secs(60);
        assert!(lease.end_by(soon, Waker::noop()));
        task.abort();
        assert!(task.await.is_err());
        assert!(!lease.end_by(soon, Waker::noop()), "its task will not look any more");
    }

    #[tokio::test]
    async fn the_connection_goes_back_with_the_last_byte_that_was_announced_and_else_with_the_end() {
        let ok = || Some(Bytes::from_static(b"ok"));
        let announced = frames("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        assert_eq!(announced[0], (ok(), true));
        let chunked = frames("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
        assert_eq!(chunked, [(ok(), false), (None, true)]);
    }
}
