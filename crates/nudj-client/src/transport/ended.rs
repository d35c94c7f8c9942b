//! A body that ends where its sender ended it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use nudj_tower::BoxError;

/// hyper's body of an answer, for which a stream that is reset without an error is half an answer, and no end: RFC 9113, section 8.1. hyper ends a
/// body there as if it were whole.
#[derive(Debug)]
pub(super) struct Ended {
    body: Incoming,
    /// HTTP/1.1 has no such reset, and a chunked body does not say that it has ended.
    is_stream: bool,
    /// The answer to a HEAD says how much another's would be.
    is_head: bool,
}

impl Ended {
    pub(super) fn new(body: Incoming, version: Version, is_head: bool) -> Self {
        Self { body, is_stream: version == Version::HTTP_2, is_head }
    }
}

impl Body for Ended {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            None if self.is_stream && !self.body.is_end_stream() => {
                Some(Err("the stream was reset before the end of the answer".into()))
            }
            frame => frame.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_head { SizeHint::with_exact(0) } else { self.body.size_hint() }
    }
}
