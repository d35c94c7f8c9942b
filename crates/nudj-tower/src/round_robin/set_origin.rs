use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::header::HOST;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{Endpoint, Origin};
use crate::{BoxError, HttpRequest, classify::TransportError, polled_after_end};

/// Sends every request to one origin: its scheme, host, port and prefix are put in front of the path. A `host` header of the
/// request's own is taken out, since it names another.
///
/// Stands inside the balancer, one per endpoint.
#[derive(Clone, Debug)]
pub struct OriginLayer {
    origin: Option<Arc<Origin>>,
}

impl OriginLayer {
    /// Sends to `origin`.
    #[must_use]
    pub fn new(origin: Origin) -> Self {
        Self { origin: Some(Arc::new(origin)) }
    }

    /// Sends to the endpoint's origin. Requests to an endpoint without one stay as they are.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Self {
        Self { origin: endpoint.origin().cloned().map(Arc::new) }
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = SetOrigin<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SetOrigin { inner, origin: self.origin.clone() }
    }
}

/// A service whose requests go to one origin; made by [`OriginLayer`].
#[derive(Clone, Debug)]
pub struct SetOrigin<S> {
    inner: S,
    // Shared, since each call clones this service.
    origin: Option<Arc<Origin>>,
}

impl<S> SetOrigin<S> {
    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for SetOrigin<S>
where
    Req: HttpRequest,
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = SetOriginFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        if let Some(origin) = &self.origin {
            match origin.locate(std::mem::take(request.uri_mut())) {
                Ok(uri) => *request.uri_mut() = uri,
                Err(error) => return SetOriginFuture { state: State::Refused { error: Some(error) } },
            }
            // Most have none, and looking at the names costs a third of a search.
            if request.headers().keys().any(|name| *name == HOST) {
                request.headers_mut().remove(HOST);
            }
            origin.record_in_current_span();
        }
        SetOriginFuture { state: State::Called { inner: self.inner.call(request) } }
    }
}

pin_project! {
    /// The future of [`SetOrigin`].
    #[derive(Debug)]
    pub struct SetOriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StateProj]
    enum State<F> {
        Called {
            #[pin]
            inner: F,
        },
        Refused {
            error: Option<http::Error>,
        },
    }
}

impl<F, Res, E> Future for SetOriginFuture<F>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { inner } => inner.poll(cx).map_err(Into::into),
            StateProj::Refused { error } => {
                let error = error.take().map(|error| TransportError::InvalidRequest(error.into()).into());
                Poll::Ready(Err(error.unwrap_or_else(|| polled_after_end("an origin layer's"))))
            }
        }
    }
}
