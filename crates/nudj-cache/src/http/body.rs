//! Bodies: collected up to a limit, or passed through.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use crate::error::BoxError;

/// How a layer hands out bodies: whole, or as they come.
///
/// [`Whole`] is for services that answer with `Full<Bytes>` and gives the same. [`Streaming`] takes any body and gives
/// [`CacheBody`]. A type of your own can do either.
pub trait Carry<B>: Send + Sync + 'static {
    /// The body type given to the caller.
    type Body: Send + 'static;

    /// A body that is all there.
    fn whole(bytes: Bytes) -> Self::Body;

    /// A body that goes through: what was already read of it, and the rest.
    fn passed(body: Passed<B>) -> Self::Body;
}

/// `Full<Bytes>` in, `Full<Bytes>` out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whole;

/// Any body in, [`CacheBody`] out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streaming;

impl Carry<Full<Bytes>> for Whole {
    type Body = Full<Bytes>;

    fn whole(bytes: Bytes) -> Self::Body {
        Full::new(bytes)
    }

    fn passed(body: Passed<Full<Bytes>>) -> Self::Body {
        // A `Full` tells its size, so nothing of one that is too large was read.
        body.into_untouched().unwrap_or_default()
    }
}

impl<B> Carry<B> for Streaming
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Body = CacheBody<B>;

    fn whole(bytes: Bytes) -> Self::Body {
        CacheBody(Kind::Whole(Full::new(bytes)))
    }

    fn passed(body: Passed<B>) -> Self::Body {
        body.into_body()
    }
}

/// A body that is not stored.
pub struct Passed<B> {
    /// Frames already read.
    ahead: VecDeque<Frame<Bytes>>,
    /// The error that ended it.
    failed: Option<BoxError>,
    rest: Rest<B>,
}

enum Rest<B> {
    Untouched(B),
    Begun(Pin<Box<B>>),
}

impl<B> Passed<B> {
    pub(super) fn untouched(body: B) -> Self {
        Self { ahead: VecDeque::new(), failed: None, rest: Rest::Untouched(body) }
    }

    /// Whether it ended in an error.
    pub(super) fn is_cut(&self) -> bool {
        self.failed.is_some()
    }

    /// The body itself, when nothing of it was read.
    pub fn into_untouched(self) -> Option<B> {
        match self.rest {
            Rest::Untouched(body) => Some(body),
            Rest::Begun(_) => None,
        }
    }

    /// A body that gives what was read and then the rest.
    pub fn into_body(self) -> CacheBody<B> {
        let rest = match self.rest {
            Rest::Untouched(body) => Box::pin(body),
            Rest::Begun(body) => body,
        };
        CacheBody(Kind::Passed { ahead: self.ahead, failed: self.failed, rest })
    }
}

impl<B> fmt::Debug for Passed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").field("frames_read", &self.ahead.len()).finish_non_exhaustive()
    }
}

/// A stored body, or one that passes through the cache as it comes.
pub struct CacheBody<B>(Kind<B>);

enum Kind<B> {
    Whole(Full<Bytes>),
    Passed { ahead: VecDeque<Frame<Bytes>>, failed: Option<BoxError>, rest: Pin<Box<B>> },
}

impl<B: Body<Data = Bytes>> Body for CacheBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Kind::Passed { ahead, failed, rest } => {
                if let Some(frame) = ahead.pop_front() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                if let Some(error) = failed.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(ready!(rest.as_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Passed { ahead, failed, rest } => ahead.is_empty() && failed.is_none() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Passed { ahead, rest, .. } => {
                let read: usize = ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
                let read = u64::try_from(read).unwrap_or(u64::MAX);
                let rest = rest.size_hint();
                let mut hint = SizeHint::new();
                // Upper first: `set_lower` panics above it.
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(read));
                }
                hint.set_lower(rest.lower().saturating_add(read));
                hint
            }
        }
    }
}

impl<B> fmt::Debug for CacheBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Whole(_) => "CacheBody(stored)",
            Kind::Passed { .. } => "CacheBody(passed)",
        })
    }
}

/// Reads a body whole, or gives it back with what was read: when it is over `limit`, fails, or has trailers, which are
/// not stored.
pub(super) async fn collect<B>(body: B, limit: usize) -> Result<Bytes, Passed<B>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let least = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if least > limit {
        return Err(Passed::untouched(body));
    }
    // It may have to stay where it is once it was polled, and be handed on all the same.
    let mut body = Box::pin(body);
    let mut ahead = VecDeque::new();
    let mut total = 0usize;
    let (failed, whole) = loop {
        match body.frame().await {
            None => break (None, true),
            Some(Err(error)) => break (Some(error.into()), false),
            Some(Ok(frame)) => {
                total = total.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                let data = frame.is_data();
                ahead.push_back(frame);
                if !data || total > limit {
                    break (None, false);
                }
            }
        }
    };
    if !whole {
        return Err(Passed { ahead, failed, rest: Rest::Begun(body) });
    }
    let mut frames = ahead.into_iter().filter_map(|frame| frame.into_data().ok());
    let first = frames.next().unwrap_or_default();
    if first.len() == total {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(total);
    all.extend_from_slice(&first);
    frames.for_each(|data| all.extend_from_slice(&data));
    Ok(all.freeze())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::StreamBody;

    use super::*;

    type Item = Result<Frame<Bytes>, BoxError>;

    fn body(frames: Vec<Item>) -> StreamBody<stream::Iter<std::vec::IntoIter<Item>>> {
        StreamBody::new(stream::iter(frames))
    }

    fn data(text: &'static str) -> Item {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn body_within_the_limit_is_whole() {
        let whole = collect(body(vec![data("ab"), data(""), data("cd")]), 4).await.unwrap();
        assert_eq!(whole, "abcd");
    }

    #[tokio::test]
    async fn body_over_the_limit_goes_through_unharmed() {
        let passed = collect(body(vec![data("ab"), data("cd"), data("ef")]), 3).await.unwrap_err();
        let out = Streaming::passed(passed);
        assert_eq!(out.size_hint().lower(), 4);
        assert_eq!(out.collect().await.unwrap().to_bytes(), "abcdef");
    }

    #[tokio::test]
    async fn body_that_tells_its_size_is_not_read_at_all() {
        let passed = collect(Full::new(Bytes::from_static(b"abcd")), 3).await.unwrap_err();
        assert_eq!(passed.into_untouched().unwrap().size_hint().exact(), Some(4));
    }

    #[tokio::test]
    async fn error_and_trailers_come_after_what_was_read() {
        let broken = collect(body(vec![data("ab"), Err("cut".into())]), 9).await.unwrap_err();
        assert!(broken.is_cut());
        let mut out = Streaming::passed(broken);
        assert_eq!(out.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_eq!(out.frame().await.unwrap().unwrap_err().to_string(), "cut");

        let trailers = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        let with_trailers = body(vec![data("ab"), Ok(Frame::trailers(trailers.clone()))]);
        let passed = collect(with_trailers, 9).await.unwrap_err();
        assert!(!passed.is_cut());
        let out = Streaming::passed(passed).collect().await.unwrap();
        assert_eq!(out.trailers(), Some(&trailers));
    }
}
