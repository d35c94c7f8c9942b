use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower::Service;

use super::{
    body::{Carry, Whole},
    directives::Directives,
    exchange::Exchange,
    headers::{Handling, Traits, handling},
    layer::State,
    store::not_cached,
};
use crate::error::BoxError;

/// A service with a cache in front. Made by [`CacheLayer`](super::CacheLayer).
pub struct Cache<S, C = Whole> {
    inner: S,
    state: Arc<State>,
    carry: PhantomData<fn() -> C>,
}

impl<S, C> Cache<S, C> {
    pub(super) fn new(inner: S, state: Arc<State>) -> Self {
        Self { inner, state, carry: PhantomData }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, A, B> Service<Request<A>> for Cache<S, C>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    A: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    C: Carry<B>,
{
    type Response = Response<C::Body>;
    type Error = BoxError;
    type Future = CacheFuture<Response<C::Body>>;

    /// Ready at once; the service below is asked when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let state = &self.state;
        let exchange = || Exchange::<S, C>::new(self.inner.clone(), Arc::clone(state));
        let traits = Traits::of(request.headers());
        let handling = handling(request.method(), traits);
        let pass = |request: Request<A>| {
            if is_only_for_the_cache(&request, traits) {
                return CacheFuture::ready(not_cached::<C, B>());
            }
            CacheFuture::boxed(exchange().pass(request))
        };
        if handling == Handling::Pass {
            return pass(request);
        }
        let route = state.route(request.uri().path());
        let route = route.as_ref().map(|(route, values)| (*route, values));
        if handling == Handling::Change {
            let resource = state.naming.resource(&request, traits, route);
            return CacheFuture::boxed(exchange().change(request, resource));
        }
        match state.naming.primary(&request, traits, route) {
            None => pass(request),
            Some(key) => {
                let lookup = state.in_memory(key, request.headers(), traits);
                match lookup.fresh() {
                    Some(stored) => {
                        let head_only = request.method() == Method::HEAD;
                        let known = traits.conditional.then_some(request.headers());
                        CacheFuture::ready(stored.respond::<C, B>(lookup.now, head_only, known))
                    }
                    None => CacheFuture::boxed(exchange().read(request, lookup)),
                }
            }
        }
    }
}

/// A read that the origin must not be asked for.
fn is_only_for_the_cache<A>(request: &Request<A>, traits: Traits) -> bool {
    traits.directives
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && Directives::read(request.headers()).only_if_cached
}

impl<S: Clone, C> Clone for Cache<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), state: Arc::clone(&self.state), carry: PhantomData }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Cache<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The answer of a [`Cache`]: at once for a hit in memory, else when it is there.
pub struct CacheFuture<R>(Inner<R>);

enum Inner<R> {
    Ready(Option<R>),
    Boxed(Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>),
}

impl<R> CacheFuture<R> {
    fn ready(response: R) -> Self {
        Self(Inner::Ready(Some(response)))
    }

    fn boxed(future: impl Future<Output = Result<R, BoxError>> + Send + 'static) -> Self {
        Self(Inner::Boxed(Box::pin(future)))
    }
}

// The response is only ever moved, never pinned.
impl<R> Unpin for CacheFuture<R> {}

impl<R> Future for CacheFuture<R> {
    type Output = Result<R, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled after it was done, which a caller must not do; it never wakes again.
                None => Poll::Pending,
            },
            Inner::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<R> fmt::Debug for CacheFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Ready(_) => "CacheFuture(hit)",
            Inner::Boxed(_) => "CacheFuture(exchange)",
        })
    }
}
