//! The floor of layers: what a call takes to pass through ten of them that do nothing else.
//!
//! Five of them own a share in their layer, as those of the stack do that count, limit or judge: a future outlives the service that made it.
//! They know whether their call ended, and count one that panicked or was dropped. The other five only hand on, both ways.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use nudj_tower::{BoxError, Call};
use parking_lot::Mutex;
use tower::{Service, ServiceBuilder, layer::layer_fn};

use crate::Body;

/// `inner` below ten layers, which hand down a call in a box as those of the stack do.
pub fn ten_layers<S>(
    inner: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send + 'static> + Clone + Send + Sync
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let layers = ServiceBuilder::new()
        .map_request(Call::new)
        .layer(layer_fn(Through::new))
        .layer(layer_fn(Through::new))
        .layer(layer_fn(Sharing::new))
        .layer(layer_fn(Sharing::new))
        .layer(layer_fn(Through::new))
        .layer(layer_fn(Through::new))
        .layer(layer_fn(Sharing::new))
        .layer(layer_fn(Sharing::new))
        .layer(layer_fn(Sharing::new))
        .layer(layer_fn(Through::new))
        .map_request(Call::into_request)
        .service(inner);
    Spared(Arc::new((layers, Mutex::default())))
}

/// Keeps an instance for the next call, as the stack does: its clone is one share, whatever is below.
struct Spared<S>(Arc<(S, Mutex<Option<Box<S>>>)>);

impl<S> Clone for Spared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Service<Req> + Clone, Req> Service<Req> for Spared<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> S::Future {
        let (template, spare) = &*self.0;
        let mut service = spare.lock().take().unwrap_or_else(|| Box::new(template.clone()));
        let future = service.call(request);
        *spare.lock() = Some(service);
        future
    }
}

/// Hands on.
#[derive(Clone, Debug)]
struct Through<S>(S);

impl<S> Through<S> {
    fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: Service<Req>, Req> Service<Req> for Through<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Handed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        Handed { inner: self.0.call(request) }
    }
}

pin_project_lite::pin_project! {
    struct Handed<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future> Future for Handed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}

/// Hands on, and owns a share.
#[derive(Clone, Debug)]
struct Sharing<S> {
    inner: S,
    lost: Arc<AtomicU64>,
}

impl<S> Sharing<S> {
    fn new(inner: S) -> Self {
        Self { inner, lost: Arc::default() }
    }
}

impl<S: Service<Req>, Req> Service<Req> for Sharing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Shared<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let share = Arc::clone(&self.lost);
        Shared { inner: self.inner.call(request), lost: share, has_ended: false }
    }
}

pin_project_lite::pin_project! {
    struct Shared<F> {
        #[pin]
        inner: F,
        lost: Arc<AtomicU64>,
        has_ended: bool,
    }

    impl<F> PinnedDrop for Shared<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if !*this.has_ended {
                this.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for Shared<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        *this.has_ended = true;
        Poll::Ready(result)
    }
}
