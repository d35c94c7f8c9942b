use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_service::Service;
use tracing::Span;

use super::{
    ids::{self, CORRELATION_ID},
    span::Call,
    task::{SERVED, Served},
};
use crate::{
    TraceContext,
    randomness::Randomness,
    semconv::{self, Side},
};

/// The service of [`CorrelationServerLayer`](super::CorrelationServerLayer).
#[derive(Clone, Debug)]
pub struct CorrelationServer<S> {
    inner: S,
    randomness: Randomness,
}

impl<S> CorrelationServer<S> {
    pub(super) fn new(inner: S, randomness: Randomness) -> Self {
        Self { inner, randomness }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, B, T> Service<Request<B>> for CorrelationServer<S>
where
    S: Service<Request<B>, Response = Response<T>>,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CorrelationServerFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settled = ids::settle(request.headers(), None, &mut self.randomness.rng(), ids::unix_millis);
        settled.clean(request.headers_mut());
        let span = Call {
            method: request.method(),
            uri: request.uri(),
            context: None,
            correlation_id: &settled.correlation_id,
            trace: &settled.trace,
        }
        .server_span(settled.span);
        let correlation_id = settled.correlation_id.clone();
        // What the handler sends is a part of this span, where somebody keeps it; else of what the caller named.
        let parent = if span.is_disabled() { settled.trace.parent } else { settled.span.id };
        let served = Served {
            correlation_id: settled.correlation_id,
            trace: TraceContext { parent, ..settled.trace },
            begins_here: settled.span.begins_here,
        };
        let call = SERVED.sync_scope(served.clone(), || span.in_scope(|| self.inner.call(request)));
        CorrelationServerFuture { inner: SERVED.scope(served, call), span, correlation_id }
    }
}

pin_project! {
    /// The future of [`CorrelationServer`]: the inner one, run with the call's ids at hand and inside its span.
    pub struct CorrelationServerFuture<F> {
        #[pin]
        inner: TaskLocalFuture<Served, F>,
        span: Span,
        correlation_id: HeaderValue,
    }
}

impl<F, T, E> Future for CorrelationServerFuture<F>
where
    F: Future<Output = Result<Response<T>, E>>,
    E: 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let mut result = ready!(this.inner.poll(cx));
        semconv::record(this.span, Side::Server, &result);
        if let Ok(response) = &mut result {
            response.headers_mut().insert(CORRELATION_ID, this.correlation_id.clone());
        }
        Poll::Ready(result)
    }
}

impl<F> std::fmt::Debug for CorrelationServerFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CorrelationServerFuture").field("correlation_id", &self.correlation_id).finish_non_exhaustive()
    }
}
