//! Reading a body to its end, within a limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use nudj_tower::{BoxError, classify::TransportError};
use pin_project_lite::pin_project;

pin_project! {
    /// The whole body in one piece. One that came in one piece is handed on as it is, without a copy or an allocation; trailers are dropped.
    #[derive(Debug)]
    pub(super) struct Reading<B> {
        #[pin]
        body: B,
        limit: usize,
        whole: Whole,
    }
}

#[derive(Debug)]
enum Whole {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl<B: Body<Data = Bytes>> Reading<B> {
    /// At most `limit` bytes of `body`.
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self { body, limit, whole: Whole::Nothing }
    }
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Several(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, next: Bytes) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(next),
            Self::One(first) => {
                let mut several = BytesMut::with_capacity(first.len() + next.len());
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
            let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) else {
                return Poll::Ready(Ok(this.whole.take()));
            };
            let Ok(data) = frame.map_err(|error| TransportError::Exchange(error.into()))?.into_data() else { continue };
            if data.len() > *this.limit - this.whole.len() {
                return Poll::Ready(Err(TransportError::BodyTooLarge { limit: *this.limit }));
            }
            if !data.is_empty() {
                this.whole.push(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]], limit: usize) -> Result<Bytes, TransportError> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(piece))))
            .chain([Ok(Frame::trailers(http::HeaderMap::new()))])
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
