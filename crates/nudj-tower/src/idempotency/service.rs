use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{BusinessKey, Generated, Key, KeySource, Operation};
use crate::{BoxError, HttpRequest, classify::IDEMPOTENCY_KEY, polled_after_end};

/// A service whose POST and PATCH requests carry a key. See the [module's page](super).
#[derive(Clone, Debug)]
pub struct Idempotency<S, K = Generated> {
    inner: S,
    enabled: bool,
    source: K,
}

/// There is no key for a request that needs one. It was not sent.
#[derive(Debug, thiserror::Error)]
#[error("no idempotency key, so the request was not sent; see that the key store works, then call again")]
pub struct KeyError(#[source] BoxError);

impl<S, K> Idempotency<S, K> {
    pub(super) fn new(inner: S, enabled: bool, source: K) -> Self {
        Self { inner, enabled, source }
    }

    /// The service within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, K, Req> Service<Req> for Idempotency<S, K>
where
    Req: HttpRequest,
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    K: KeySource,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = IdempotencyFuture<S, K::Future, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        if !self.enabled || !needs_key(&request) {
            return IdempotencyFuture { state: State::Called { inner: self.inner.call(request) } };
        }
        let business_key = request.extensions_mut().remove::<BusinessKey>();
        let operation =
            Operation { method: request.method(), path: request.uri().path(), business_key: business_key.as_ref() };
        let state = match self.source.key(&operation) {
            Ok(Key::Now(key)) => {
                put(&mut request, key);
                State::Called { inner: self.inner.call(request) }
            }
            Ok(Key::Later(key)) => {
                // The instance that was polled ready goes, and what it holds with it: the key may take long.
                self.inner = self.inner.clone();
                State::Asking { key, inner: Some(self.inner.clone()), request: Some(request) }
            }
            Err(error) => {
                // So does this one, which nobody will call: what it holds is free for others.
                self.inner = self.inner.clone();
                State::Refused { error: Some(error) }
            }
        };
        IdempotencyFuture { state }
    }
}

fn needs_key(request: &impl HttpRequest) -> bool {
    matches!(*request.method(), Method::POST | Method::PATCH) && !request.headers().contains_key(&IDEMPOTENCY_KEY)
}

fn put(request: &mut impl HttpRequest, key: HeaderValue) {
    request.headers_mut().insert(IDEMPOTENCY_KEY, key);
}

pin_project! {
    /// The future of [`Idempotency`].
    #[derive(Debug)]
    pub struct IdempotencyFuture<S, K, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S, S::Future, K, Req>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<S, F, K, Req> {
        Called {
            #[pin]
            inner: F,
        },
        // The clone below is not ready and holds nothing.
        Asking {
            #[pin]
            key: K,
            inner: Option<S>,
            request: Option<Req>,
        },
        GettingReady {
            inner: S,
            request: Option<Req>,
        },
        Refused {
            error: Option<BoxError>,
        },
    }
}

impl<S, K, Req> Future for IdempotencyFuture<S, K, Req>
where
    Req: HttpRequest,
    S: Service<Req>,
    S::Error: Into<BoxError>,
    K: Future<Output = Result<HeaderValue, BoxError>>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Called { inner } => return inner.poll(cx).map_err(Into::into),
                StateProj::Refused { error } => {
                    let error = error.take().map(|error| KeyError(error).into());
                    return Poll::Ready(Err(error.unwrap_or_else(|| polled_after_end("an idempotency layer's"))));
                }
                StateProj::Asking { key, inner, request } => match (ready!(key.poll(cx)), inner.take(), request.take())
                {
                    (Ok(key), Some(inner), Some(mut request)) => {
                        put(&mut request, key);
                        State::GettingReady { inner, request: Some(request) }
                    }
                    (Err(error), ..) => State::Refused { error: Some(error) },
                    (Ok(_), ..) => State::Refused { error: None },
                },
                StateProj::GettingReady { inner, request } => {
                    ready!(inner.poll_ready(cx)).map_err(Into::into)?;
                    match request.take() {
                        Some(request) => State::Called { inner: inner.call(request) },
                        None => State::Refused { error: None },
                    }
                }
            };
            state.set(next);
        }
    }
}
