use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::{
    BoxError, Rejection,
    timer::{LazyTimer, end_of},
};

pin_project! {
    /// A body that ends in [`Rejection::AttemptTimeout`] when it has not ended by itself in time.
    ///
    /// What is there is given out, even late: the time ends a wait, it does not throw data away. After the error there is nothing
    /// more; drop the body then, which ends the exchange.
    #[derive(Debug)]
    pub struct TimeoutBody<B> {
        #[pin]
        inner: B,
        timer: LazyTimer,
        limit: Duration,
        start: Option<Instant>,
        timed_out: bool,
    }
}

impl<B> TimeoutBody<B> {
    /// `start` is `None` where nothing was waited for yet.
    pub(super) fn new(inner: B, limit: Duration, start: Option<Instant>) -> Self {
        Self { inner, timer: LazyTimer::default(), limit, start, timed_out: false }
    }

    /// The body below, whose time is no longer kept.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B> Body for TimeoutBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        if *this.timed_out {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = end_of(*this.start.get_or_insert_with(Instant::now), *this.limit);
        ready!(this.timer.poll_until(cx, deadline));
        *this.timed_out = true;
        Poll::Ready(Some(Err(Rejection::AttemptTimeout { limit: *this.limit }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.timed_out || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
