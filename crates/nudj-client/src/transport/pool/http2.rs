//! HTTP/2 connections: h2's, without hyper's client around them.
//!
//! hyper hands a request to a task over a channel, spawns another task for each answer, and hands that back over a second channel, for bodies
//! that come piece by piece. Here a request is whole before it is sent. So the call itself puts it into a stream and waits there, and the
//! connection's task alone stands between it and the socket: two fifths fewer instructions.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::Failure;

/// What a peer may send on one stream, and on all together, before it is read: bytes. hyper's own figures, as the next two.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// How long an answer's head may be: bytes, as HPACK counts them (RFC 7541, section 4.1).
const MAX_HEAD: u32 = 16 << 10;
/// How many streams are opened before the peer has said how many it takes: what RFC 9113, section 6.5.2, asks of it at the least.
const STREAMS_AT_FIRST: usize = 100;

/// How many streams that were reset here are remembered, for what the peer had sent on them before it knew: what comes for one that is forgotten
/// counts as the peer's fault, and a thousand of those end the connection.
const RESET_REMEMBERED: usize = 1024;

/// How much is queued for a stream at once: bytes. More is nowhere to be counted.
const MAX_BODY: usize = (1 << 31) - 1;

/// Up to how many bytes of a body are left to h2 when the answer does not wait for them: one frame.
const LEFT_BEHIND: usize = 16 << 10;

pub(super) async fn handshake<T>(io: T) -> Result<(SendRequest<Bytes>, Connection<T, Bytes>), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(STREAMS_AT_FIRST)
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_reset_streams(RESET_REMEMBERED)
        .enable_push(false)
        .handshake(io)
        .await
}

/// Puts `request`, whose URI is absolute, into a stream of its own. If it fails, not a byte of it was or will be written.
pub(super) fn send(sender: &Mutex<SendRequest<Bytes>>, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let (mut head, body) = request.into_parts();
    let body = body.into_inner().unwrap_or_default();
    if body.len() > MAX_BODY {
        return Err(Failure::Invalid("over HTTP/2 a body is shorter than 2 GiB".into()));
    }
    announce(&mut head.headers, &head.method, body.len());
    // Here, and not under the lock: what is in them is the caller's.
    head.extensions.clear();
    let (is_head, length) = (head.method == Method::HEAD, body.len());
    let sent = {
        // A clone for each call would take h2's lock and count two shares, twice.
        let mut sender = sender.lock();
        let sent = sender.send_request(Request::from_parts(head, ()), length == 0);
        match ready_again(&mut sender) {
            Ok(()) => sent.map_err(unsent),
            Err(_) => sent.map_err(|_| Failure::Unsent(None)),
        }
    };
    let (answer, mut stream) = sent?;
    // Refused only by what has ended meanwhile, of which the answer tells.
    if length > LEFT_BEHIND {
        // With an end of its own, by which h2 knows to the last piece that something is left to reset.
        let _ = stream.send_data(body, false).and_then(|()| stream.send_data(Bytes::new(), true));
    } else if length > 0 {
        let _ = stream.send_data(body, true);
    }
    Ok(Answer { answer, is_head, upload: (length > LEFT_BEHIND).then_some(stream) })
}

/// Whether the connection takes requests. How many there may be is for the pool to say, and not for one handle to wait for: it would keep the last
/// stream that it opened, also when its call is gone.
pub(super) fn ready_again(sender: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => {
            *sender = sender.clone();
            Ok(())
        }
    }
}

/// Whether it is the connection that took no more requests, or the request that none would take.
fn unsent(error: h2::Error) -> Failure {
    if error.is_io() || error.is_go_away() || error.is_reset() {
        Failure::Unsent(None)
    } else {
        Failure::Invalid(error.into())
    }
}

/// What is left of a long request when its answer has come: nobody waits for it.
#[derive(Debug)]
struct Upload(SendStream<Bytes>);

impl Drop for Upload {
    fn drop(&mut self) {
        // Nothing goes out where all of it was written.
        self.0.send_reset(Reason::CANCEL);
    }
}

/// RFC 9110, section 8.6: the length, also of no content where the method foresees some.
fn announce(headers: &mut HeaderMap, method: &Method, length: usize) {
    if length > 0 || !matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The answer to come. Dropped before, it resets the stream.
pub(super) struct Answer {
    answer: ResponseFuture,
    is_head: bool,
    /// Left to h2 as long as there is no answer: a stream that is dropped before it was opened is not sent then.
    upload: Option<SendStream<Bytes>>,
}

impl Future for Answer {
    type Output = Result<Response<Streamed>, h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (head, stream) = ready!(Pin::new(&mut self.answer).poll(cx))?.into_parts();
        let has_ended = stream.is_end_stream();
        let left = if has_ended || self.is_head { Some(0) } else { announced(&head.headers) };
        let upload = self.upload.take().map(Upload);
        Poll::Ready(Ok(Response::from_parts(head, Streamed { stream, has_ended, left, _upload: upload })))
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    // h2 sees to it that it is the length in the end.
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An answer's body. Its trailers are left where they are; nobody here reads them.
///
/// One whose stream is reset before its end is an error for whatever reason it was, `NO_ERROR` too: half an answer is none.
#[derive(Debug)]
pub(super) struct Streamed {
    stream: RecvStream,
    /// Known from here, since h2 takes the connection's lock to tell.
    has_ended: bool,
    left: Option<u64>,
    /// Dropped with this, when the answer was read or is not wanted.
    _upload: Option<Upload>,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(data) = ready!(self.stream.poll_data(cx)) else { return Poll::Ready(None) };
        let data = data?;
        self.has_ended = self.stream.is_end_stream();
        if !self.has_ended {
            // What was read is in memory and counts against the answer's limit, so the peer may send as much again. What the end leaves
            // unsaid the stream says when it is dropped. Only more than came is refused.
            let _ = self.stream.flow_control().release_capacity(data.len());
        }
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::header::TRANSFER_ENCODING;
    use tokio_test::task;

    use super::*;
    use crate::transport::pool::lone::kinds_sent;

    fn request() -> Request<Full<Bytes>> {
        Request::get("http://a/").body(Full::default()).unwrap()
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_sent_is_told_from_a_connection_that_takes_none() {
        let (ours, peer) = tokio::io::duplex(1024);
        let (sender, connection) = handshake(ours).await.unwrap();
        let sender = Mutex::new(sender);
        let mut invalid = request();
        // One that a connection may not carry: RFC 9113, section 8.2.2.
        invalid.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert!(matches!(send(&sender, invalid), Err(Failure::Invalid(_))));
        let answer = send(&sender, request()).unwrap_or_else(|_| panic!("the connection is as good as it was"));
        drop(peer);
        assert!(connection.await.is_err());
        assert!(answer.await.is_err());
        assert!(matches!(send(&sender, request()), Err(Failure::Unsent(None))));
        // Also where its end comes between the two looks at it.
        let (head, _) = request().into_parts();
        let error = sender.lock().send_request(Request::from_parts(head, ()), true).unwrap_err();
        assert!(matches!(unsent(error), Failure::Unsent(None)));
    }

    #[tokio::test]
    async fn of_a_long_request_that_is_given_up_before_it_was_opened_the_peer_sees_no_body() {
        const DATA: u8 = 0;
        for is_cancelled in [true, false] {
            let (ours, mut peer) = tokio::io::duplex(1 << 20);
            let (sender, connection) = handshake(ours).await.unwrap();
            let sender = Mutex::new(sender);
            let body = Bytes::from(vec![b'x'; 2 * LEFT_BEHIND]);
            let request = Request::post("http://a/").body(Full::new(body)).unwrap();
            let answer = send(&sender, request).unwrap_or_else(|_| panic!("it takes requests"));
            let answer = (!is_cancelled).then_some(answer);
            let mut connection = task::spawn(connection);
            assert!(connection.poll().is_pending());
            let kinds = kinds_sent(&mut peer).await;
            assert_eq!(kinds.contains(&DATA), !is_cancelled, "{kinds:?}");
            drop(answer);
        }
    }
}
