use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    headers,
    span::{AttemptSpan, Traced},
};
use crate::{HttpRequest, observe::Observers, randomness::Randomness};

/// A service whose calls are attempts, each with its span; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct Attempt<S> {
    inner: S,
    randomness: Randomness,
    observers: Observers,
}

impl<S> Attempt<S> {
    pub(super) fn new(inner: S, randomness: Randomness, observers: Observers) -> Self {
        Self { inner, randomness, observers }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req, T> Service<Req> for Attempt<S>
where
    Req: HttpRequest,
    S: Service<Req, Response = Response<T>>,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AttemptFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let Some(span) = self.begin(&mut request) else {
            return AttemptFuture { inner: self.inner.call(request), span: None };
        };
        let inner = span.span().in_scope(|| self.inner.call(request));
        AttemptFuture { inner, span: Some(span) }
    }
}

impl<S> Attempt<S> {
    /// Writes the attempt's headers, and opens its span.
    fn begin(&self, request: &mut impl HttpRequest) -> Option<Box<AttemptSpan>> {
        let (headers, Some(context)) = request.headers_in_context() else {
            return AttemptSpan::begin(request, 0, None);
        };
        let resends = context.resends();
        let id = headers::write(headers, &context, resends, || self.randomness.rng());
        let is_traced = context.wants_attempts(&self.observers);
        let traced = id.filter(|_| is_traced).map(|id| (id, context.into_owned()));
        let traced = traced.map(|(id, context)| Traced::begin(request, context, id, resends, &self.observers));
        AttemptSpan::begin(request, resends, traced)
    }
}

pin_project! {
    /// The future of [`Attempt`]: the inner one, run inside the attempt's span.
    #[derive(Debug)]
    pub struct AttemptFuture<F> {
        #[pin]
        inner: F,
        span: Option<Box<AttemptSpan>>,
    }
}

impl<F, T, E> Future for AttemptFuture<F>
where
    F: Future<Output = Result<Response<T>, E>>,
    E: 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(span) = this.span else { return this.inner.poll(cx) };
        let result = {
            let _entered = span.span().enter();
            ready!(this.inner.poll(cx))
        };
        if let Some(span) = this.span.take() {
            span.end(&result);
        }
        Poll::Ready(result)
    }
}
