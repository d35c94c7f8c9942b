use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{TimeIsUp, TimeoutBody};
use crate::{
    BoxError, Rejection,
    classify::find_in_chain,
    timer::{self, LazyTimer, Offered, end_of},
};

/// A service whose calls each end within a time; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
    one_task: bool,
}

impl<S> AttemptTimeout<S> {
    pub(super) fn new(inner: S, limit: Duration, one_task: bool) -> Self {
        Self { inner, limit, one_task }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for AttemptTimeout<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AttemptTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let inner = self.inner.call(request);
        let time = if self.one_task { Kept::MayBe } else { Kept::Here };
        AttemptTimeoutFuture { inner, timer: LazyTimer::default(), limit: self.limit, start: None, time }
    }
}

/// A service whose calls and response bodies together end within a time; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct BodyTimeout<S> {
    inner: AttemptTimeout<S>,
}

impl<S> BodyTimeout<S> {
    pub(super) fn new(inner: S, limit: Duration, one_task: bool) -> Self {
        Self { inner: AttemptTimeout::new(inner, limit, one_task) }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        self.inner.get_ref()
    }
}

impl<S, Req, B> Service<Req> for BodyTimeout<S>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<TimeoutBody<B>>;
    type Error = BoxError;
    type Future = BodyTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        BodyTimeoutFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`AttemptTimeout`].
    #[derive(Debug)]
    pub struct AttemptTimeoutFuture<F> {
        #[pin]
        inner: F,
        timer: LazyTimer,
        limit: Duration,
        // Known from the first wait on.
        start: Option<Instant>,
        time: Kept,
    }
}

/// Who keeps the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Here,
    /// It will be offered below in the first poll.
    MayBe,
    Below,
}

impl<F, Res, E> Future for AttemptTimeoutFuture<F>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let offered = (*this.time == Kept::MayBe).then(|| Offered::to(cx, *this.limit));
        if *this.time != Kept::Here {
            timer::forget();
        }
        let polled = this.inner.poll(cx);
        if let Some(offered) = offered {
            *this.start = offered.taken();
            *this.time = if this.start.is_some() { Kept::Below } else { Kept::Here };
        }
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.map_err(|error| match error.into() {
                error if *this.time == Kept::Below && is_its_end(&*error) => timed_out(*this.limit),
                error => error,
            }));
        }
        let deadline = end_of(*this.start.get_or_insert_with(Instant::now), *this.limit);
        // As long as whoever took it says that the task will be woken.
        if *this.time == Kept::Below && timer::woken_at(cx).is_some_and(|at| at <= deadline) {
            return Poll::Pending;
        }
        ready!(this.timer.poll_until(cx, deadline));
        Poll::Ready(Err(timed_out(*this.limit)))
    }
}

#[cold]
fn timed_out(limit: Duration) -> BoxError {
    Rejection::AttemptTimeout { limit }.into()
}

#[cold]
fn is_its_end(error: &(dyn Error + 'static)) -> bool {
    find_in_chain::<TimeIsUp>(error).is_some()
}

pin_project! {
    /// The future of [`BodyTimeout`].
    #[derive(Debug)]
    pub struct BodyTimeoutFuture<F> {
        #[pin]
        inner: AttemptTimeoutFuture<F>,
    }
}

impl<F, B, E> Future for BodyTimeoutFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<TimeoutBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = ready!(this.inner.as_mut().poll(cx));
        let AttemptTimeoutFuture { limit, start, .. } = *this.inner;
        Poll::Ready(result.map(|response| response.map(|body| TimeoutBody::new(body, limit, start))))
    }
}
