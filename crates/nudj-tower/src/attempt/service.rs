use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::{Span, field::Empty};

use super::headers;
use crate::{
    HttpRequest,
    randomness::Randomness,
    semconv::{self, Side},
};

/// A service whose calls are attempts, each with its span; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct Attempt<S> {
    inner: S,
    randomness: Randomness,
}

impl<S> Attempt<S> {
    pub(super) fn new(inner: S, randomness: Randomness) -> Self {
        Self { inner, randomness }
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
        let mut resends = 0;
        if let Some(context) = request.context().cloned() {
            resends = context.resends();
            headers::write(request.headers_mut(), &context, resends, || self.randomness.rng());
        }
        let span = span(&request, resends);
        if span.is_disabled() {
            drop(span);
            return AttemptFuture { inner: self.inner.call(request), span: Span::none() };
        }
        let inner = span.in_scope(|| self.inner.call(request));
        AttemptFuture { inner, span }
    }
}

/// Costs a few nanoseconds while nobody listens: the fields are made on demand.
fn span(request: &impl HttpRequest, resends: u32) -> Span {
    let template = || request.context()?.route().map(|route| route.template);
    tracing::info_span!(
        "http_attempt",
        otel.name = %semconv::name(request.method(), template()),
        otel.kind = "client",
        http.request.method = semconv::method(request.method()),
        url.template = template(),
        server.address = request.uri().host(),
        server.port = request.uri().port_u16(),
        http.request.resend_count = (resends > 0).then_some(resends),
        http.response.status_code = Empty,
        error.r#type = Empty,
        span_id = headers::span_id(request.headers()),
    )
}

pin_project! {
    /// The future of [`Attempt`]: the inner one, run inside the attempt's span.
    #[derive(Debug)]
    pub struct AttemptFuture<F> {
        #[pin]
        inner: F,
        // Disabled once the attempt has ended.
        span: Span,
    }

    impl<F> PinnedDrop for AttemptFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            this.project().span.record("error.type", "cancelled");
        }
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
        let entered = this.span.enter();
        let result = ready!(this.inner.poll(cx));
        semconv::record(this.span, Side::Client, &result);
        drop(entered);
        *this.span = Span::none();
        Poll::Ready(result)
    }
}
