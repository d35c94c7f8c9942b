use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::Span;

use super::{ids, span::Call, task::SERVED};
use crate::{
    CallContext, HttpRequest,
    randomness::Randomness,
    semconv::{self, Side},
};

/// The service of [`CorrelationLayer`](super::CorrelationLayer).
#[derive(Clone, Debug)]
pub struct Correlation<S> {
    inner: S,
    randomness: Randomness,
}

impl<S> Correlation<S> {
    pub(super) fn new(inner: S, randomness: Randomness) -> Self {
        Self { inner, randomness }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req, T> Service<Req> for Correlation<S>
where
    Req: HttpRequest,
    S: Service<Req, Response = Response<T>>,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CorrelationFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let span = self.begin(&mut request);
        if span.is_disabled() {
            drop(span);
            return CorrelationFuture { inner: self.inner.call(request), span: None };
        }
        let inner = span.in_scope(|| self.inner.call(request));
        CorrelationFuture { inner, span: Some(Box::new(span)) }
    }
}

impl<S> Correlation<S> {
    /// Settles the call's ids, and opens its span.
    fn begin(&self, request: &mut impl HttpRequest) -> Span {
        let mut rng = self.randomness.rng();
        let mut settle = |served: Option<&_>| ids::settle(request.headers(), served, &mut rng, ids::unix_millis);
        let mut settled = match SERVED.try_with(|served| settle(Some(served))) {
            Ok(settled) => settled,
            Err(_) => settle(None),
        };
        settled.send_in(request.headers_mut());
        if request.context().is_none() {
            request.set_context(&CallContext::new());
        }
        let context = request.context();
        let span = Call {
            method: request.method(),
            uri: request.uri(),
            context,
            correlation_id: &settled.correlation_id,
            trace: &settled.trace,
        }
        .client_span();
        if let Some(context) = context {
            context.settle(settled.correlation_id, settled.trace, settled.span, settled.first_attempt);
        }
        span
    }
}

pin_project! {
    /// The future of [`Correlation`]: the inner one, run inside the call's span.
    #[derive(Debug)]
    pub struct CorrelationFuture<F> {
        #[pin]
        inner: F,
        // On the heap, since it is large, and most calls have none.
        span: Option<Box<Span>>,
    }
}

impl<F, T, E> Future for CorrelationFuture<F>
where
    F: Future<Output = Result<Response<T>, E>>,
    E: 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The answer goes by in place. To look at it, it has to be moved.
        let Some(span) = this.span else { return this.inner.poll(cx) };
        let _entered = span.enter();
        let result = ready!(this.inner.poll(cx));
        semconv::record(span, Side::Client, &result);
        Poll::Ready(result)
    }
}
