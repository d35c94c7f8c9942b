//! The composed stack as one service, its type forgotten once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_tower::BoxError;
use tower::ServiceExt;
use tower_service::Service;

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
        Box::pin(self.0.clone().oneshot(request))
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

    fn call(&mut self, request: Request<Full<Bytes>>) -> NudjFuture {
        self.0.dispatch(request)
    }
}

impl fmt::Debug for NudjService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NudjService").finish_non_exhaustive()
    }
}
