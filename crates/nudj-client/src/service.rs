//! The composed stack as one service, its type forgotten once.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_tower::BoxError;
use tower::ServiceExt;
use tower_service::Service;

/// How many headers the layers write: correlation id, traceparent, credential, idempotency key, accept-encoding.
pub(crate) const WRITTEN: usize = 5;

/// The future of a [`NudjService`]: one box per call, the only one in the stack.
pub type NudjFuture = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

/// The stack as a `tower::Service`, for those who want it without the typed API.
///
/// Takes a request whose URI is a path, sends it to the endpoint the balancer picks, and answers with the whole body. It is
/// always ready: what bounds calls is the limiter's queue inside. A clone is an `Arc` clone and shares all state.
#[derive(Clone)]
pub struct NudjService(Arc<dyn Dispatch>);

trait Dispatch: Send + Sync {
    fn dispatch(&self, request: Request<Full<Bytes>>) -> NudjFuture;
}

struct Template<S>(S);

impl<S> Dispatch for Template<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    fn dispatch(&self, request: Request<Full<Bytes>>) -> NudjFuture {
        let mut service = self.0.clone();
        // A stack that is ready, as ours always is, is called right here: its future goes into the box as it is, and not by way of
        // one that waits for readiness first.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Box::pin(service.call(request)),
            Poll::Ready(Err(error)) => Box::pin(ready(Err(error))),
            Poll::Pending => Box::pin(service.oneshot(request)),
        }
    }
}

impl NudjService {
    /// Forgets the type of `service`. Each call goes to a clone of it that is polled ready first.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Self(Arc::new(Template(service)))
    }
}

impl Service<Request<Full<Bytes>>> for NudjService {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = NudjFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> NudjFuture {
        // Room for what the layers write, so that the map grows once at most.
        request.headers_mut().reserve(WRITTEN);
        self.0.dispatch(request)
    }
}

impl fmt::Debug for NudjService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NudjService").finish_non_exhaustive()
    }
}
