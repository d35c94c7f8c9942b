use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{KeepHttp, KeepReplay, ReplayBody, RetryPolicy};
use crate::{BoxError, classify::Http};

/// Sends a request again when that may help: tower's own service with our policy.
pub type Retry<S, C = Http, K = KeepHttp> = tower::retry::Retry<RetryPolicy<C, K>, BoxErrors<S>>;

/// The inner service with its errors boxed, so that the policy can look into them. The error itself is unchanged.
#[derive(Clone, Debug)]
pub struct BoxErrors<S> {
    inner: S,
}

impl<S> BoxErrors<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The service within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service within.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S, Req> Service<Req> for BoxErrors<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxErrorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        BoxErrorsFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`BoxErrors`].
    #[derive(Debug)]
    pub struct BoxErrorsFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for BoxErrorsFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)).map_err(Into::into))
    }
}

/// [`Retry`] over bodies that stream: below it, requests carry a [`ReplayBody`].
#[derive(Clone, Debug)]
pub struct ReplayingRetry<S, C = Http> {
    retry: Retry<S, C, KeepReplay>,
    cap: usize,
}

impl<S, C> ReplayingRetry<S, C> {
    pub(super) fn new(retry: Retry<S, C, KeepReplay>, cap: usize) -> Self {
        Self { retry, cap }
    }
}

impl<S, C, B> Service<Request<B>> for ReplayingRetry<S, C>
where
    B: Body,
    Retry<S, C, KeepReplay>: Service<Request<ReplayBody<B>>>,
{
    type Response = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Response;
    type Error = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Error;
    type Future = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.retry.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.retry.call(request.map(|body| ReplayBody::new(body, self.cap)))
    }
}
