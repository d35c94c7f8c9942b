//! Reading a body to its end, within a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body::Body;
use nudj_tower::{BoxError, classify::TransportError};
use pin_project_lite::pin_project;

/// For how much more than has come there is room made on the peer's word alone.
const BELIEVED: usize = 1 << 20;

pin_project! {
    /// The whole body in one piece, read until it ends or says that nothing more will come. One that came in one piece is handed on as it is, without a copy or an allocation; trailers are dropped.
    #[derive(Debug)]
    pub(super) struct Reading<B> {
        #[pin]
        body: B,
        limit: usize,
        read: Read,
    }
}

/// Whether the body may have to be [inflated](super::inflate::inflate) on the way.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    // One look at what is there costs less than a search for what hardly ever is.
    headers.keys().any(|name| *name == CONTENT_ENCODING)
}

#[derive(Debug)]
enum Read {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl<B: Body<Data = Bytes>> Reading<B> {
    /// At most `limit` bytes of `body`.
    ///
    /// # Errors
    /// When more are announced, which need not be read to be refused; the answer to a HEAD announces and sends nothing.
    #[inline]
    pub(super) fn announced(body: B, limit: usize) -> Result<Self, TransportError> {
        if body.size_hint().lower() > limit as u64 && !body.is_end_stream() {
            return Err(TransportError::BodyTooLarge { limit });
        }
        Ok(Self::new(body, limit))
    }

    /// At most `limit` bytes of `body`.
    #[inline]
    fn new(body: B, limit: usize) -> Self {
        Self { body, limit, read: Read::Nothing }
    }
}

impl Read {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    /// From the second piece on there is room for what is `announced` as well, which costs less than to grow; of an allocation a page that is
    /// not written takes no memory. So much of it is believed that no peer asks for more than there is.
    #[inline]
    fn push(&mut self, next: Bytes, announced: impl FnOnce() -> usize) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(next),
            Self::One(first) => {
                let mut several = BytesMut::with_capacity(first.len() + next.len() + announced());
                several.extend_from_slice(&first);
                several.extend_from_slice(&next);
                Self::Several(several)
            }
            Self::Several(mut several) => {
                several.extend_from_slice(&next);
                Self::Several(several)
            }
        };
    }

    #[inline]
    fn take(&mut self) -> Bytes {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Several(bytes) => bytes.freeze(),
        }
    }
}

impl<B> Future for Reading<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Output = Result<Bytes, TransportError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let Some(frame) = task::ready!(this.body.as_mut().poll_frame(cx)) else {
                return Poll::Ready(Ok(this.read.take()));
            };
            let Ok(data) = frame.map_err(|error| TransportError::Exchange(error.into()))?.into_data() else { continue };
            if data.len() > *this.limit - this.read.len() {
                return Poll::Ready(Err(TransportError::BodyTooLarge { limit: *this.limit }));
            }
            if !data.is_empty() {
                let room = *this.limit - this.read.len() - data.len();
                let body = &this.body;
                this.read
                    .push(data, || usize::try_from(body.size_hint().lower()).unwrap_or(room).min(room).min(BELIEVED));
            }
            if this.body.is_end_stream() {
                return Poll::Ready(Ok(this.read.take()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body::{Frame, SizeHint};
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]], limit: usize) -> Result<Bytes, TransportError> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(piece))))
            .chain([Ok(Frame::trailers(HeaderMap::new()))])
            .collect();
        Reading::new(StreamBody::new(stream::iter(frames)), limit).now_or_never().expect("nothing to wait for")
    }

    #[test]
    fn one_piece_is_handed_on_as_it_is() {
        let piece = Bytes::from_static(b"as it is");
        let frames = stream::iter([Ok::<_, BoxError>(Frame::data(piece.clone()))]);
        let whole = Reading::new(StreamBody::new(frames), 8).now_or_never().expect("ready").expect("short enough");
        assert_eq!(whole.as_ptr(), piece.as_ptr());
    }

    /// One piece, and the end said with it.
    struct Announced(Option<Bytes>);

    impl Body for Announced {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(Some(Ok(Frame::data(self.0.take().expect("asked after its end")))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_none()
        }
    }

    #[test]
    fn a_body_that_says_it_has_ended_is_not_asked_again() {
        let body = Announced(Some(Bytes::from_static(b"all")));
        assert_eq!(Reading::new(body, 3).now_or_never().expect("ready").expect("short enough"), "all");
    }

    /// Announces more than any machine has.
    struct Boasting(u8);

    impl Body for Boasting {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0 += 1;
            Poll::Ready((self.0 < 4).then(|| Ok(Frame::data(Bytes::from_static(b"ha")))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(1 << 62)
        }
    }

    #[test]
    fn room_is_not_made_for_all_that_a_peer_announces() {
        let whole = Reading::announced(Boasting(0), usize::MAX).expect("within the limit").now_or_never();
        assert_eq!(whole.expect("ready").expect("short enough"), "hahaha");
    }

    #[test]
    fn the_last_byte_of_the_limit_is_read_and_the_next_refused() {
        assert_eq!(read(&[b"12", b"34"], 4).expect("just short enough"), "1234");
        let refused = read(&[b"12", b"345"], 4);
        assert!(matches!(refused, Err(TransportError::BodyTooLarge { limit: 4 })), "{refused:?}");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_the_same(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(&read(&pieces, 100).expect("short enough")[..], &pieces.concat()[..]);
        }
    }
}
