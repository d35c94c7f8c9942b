//! The composed stack as one service, its type forgotten once.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use crossbeam_utils::atomic::AtomicCell;
use http::{Request, Response};
use http_body_util::Full;
use nudj_tower::{BoxError, Call, CallContext, HttpRequest as _};
use tower::ServiceExt;
use tower_service::Service;

use crate::transport::strip_framing;

/// How many headers the layers write: correlation id, traceparent, credential, idempotency key, accept-encoding.
pub(crate) const WRITTEN: usize = 5;

/// The future of a [`NudjService`]: one box for all layers. The transport has one of its own, and a cache one for what is below it.
pub type NudjFuture = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

/// The stack as a `tower::Service`, for those who want it without the typed API.
///
/// Takes a request whose URI is a path, sends it to the endpoint the balancer picks, and answers with the whole body. It is
/// always ready: what bounds calls is the limiter's queue inside. Headers that frame the message or steer the connection, and those that
/// the request's `connection` names, are dropped before the first layer. A clone is an `Arc` clone and shares all state.
#[derive(Clone)]
pub struct NudjService(Arc<dyn Dispatch>);

/// What the layers of the stack hand down to each other: a request with its context beside it, which costs less than one in the
/// request's extensions.
pub(crate) type WholeCall = Call<Full<Bytes>>;

trait Dispatch: Send + Sync {
    fn dispatch(&self, call: WholeCall) -> NudjFuture;
}

struct Template<S> {
    service: S,
    /// An instance that nobody uses: taking it, and putting it back, costs less than a clone, whose layers each count theirs. In a box, so
    /// that a pointer is moved and not the stack, and each is one step of the processor.
    spare: AtomicCell<Option<Box<S>>>,
}

impl<S> Template<S> {
    fn new(service: S) -> Self {
        Self { service, spare: AtomicCell::default() }
    }
}

impl<S> Dispatch for Template<S>
where
    S: Service<WholeCall, Response = Response<Full<Bytes>>, Error = BoxError>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    fn dispatch(&self, call: WholeCall) -> NudjFuture {
        let mut service = self.spare.take().unwrap_or_else(|| Box::new(self.service.clone()));
        // A stack that is ready, as ours always is, is called right here: its future goes into the box as it is, and not by way of
        // one that waits for readiness first. Only such an instance goes back, and only if it was called without a panic.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let future = Box::pin(service.call(call));
                self.spare.store(Some(service));
                future
            }
            Poll::Ready(Err(error)) => Box::pin(ready(Err(error))),
            Poll::Pending => Box::pin(service.oneshot(call)),
        }
    }
}

impl NudjService {
    /// Forgets the type of `service`. Each call goes to a clone of it that is polled ready first, to one from an earlier call where
    /// that is at hand.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Self::over_calls(OverRequests { inner: service, carrying: true })
    }

    /// As [`new`](Self::new), over a service that takes calls.
    pub(crate) fn over_calls<S>(service: S) -> Self
    where
        S: Service<WholeCall, Response = Response<Full<Bytes>>, Error = BoxError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        Self(Arc::new(Template::new(service)))
    }

    /// As `call`, in a context that is at hand, with a request that has no framing headers.
    pub(crate) fn call_within(&self, context: CallContext, request: Request<Full<Bytes>>) -> NudjFuture {
        self.dispatch(Call::within(context, request))
    }

    /// The service as a layer of the stack sees it.
    pub(crate) fn into_calls(self) -> Calls {
        Calls(self)
    }

    fn dispatch(&self, mut call: WholeCall) -> NudjFuture {
        // Room for what the layers write, so that the map grows once at most.
        call.headers_mut().reserve(WRITTEN);
        self.0.dispatch(call)
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
        let mut call = Call::new(request);
        strip_framing(call.headers_mut());
        self.dispatch(call)
    }
}

/// [`NudjService`] for calls.
#[derive(Clone)]
pub(crate) struct Calls(NudjService);

impl Service<WholeCall> for Calls {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = NudjFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: WholeCall) -> NudjFuture {
        self.0.dispatch(call)
    }
}

/// A service that takes requests, under layers that hand down calls.
#[derive(Clone)]
pub(crate) struct OverRequests<S> {
    inner: S,
    /// Whether it finds the context in its requests' extensions.
    carrying: bool,
}

impl<S> OverRequests<S> {
    /// For what stands below all layers, and needs no context.
    pub(crate) fn bare(inner: S) -> Self {
        Self { inner, carrying: false }
    }
}

impl<S> Service<WholeCall> for OverRequests<S>
where
    S: Service<Request<Full<Bytes>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: WholeCall) -> S::Future {
        self.inner.call(if self.carrying { call.into_carrying() } else { call.into_request() })
    }
}

impl fmt::Debug for NudjService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NudjService").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
    };

    use tokio::sync::Notify;
    use tower::{limit::ConcurrencyLimit, service_fn};

    use super::*;

    type Answer = Result<Response<Full<Bytes>>, BoxError>;

    #[tokio::test]
    async fn an_instance_that_is_not_ready_is_left_to_its_call() {
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let slow = service_fn(move |_: Request<Full<Bytes>>| {
            let go = Arc::clone(&waits);
            async move {
                go.notified().await;
                Answer::Ok(Response::default())
            }
        });
        let mut service = NudjService::new(ConcurrencyLimit::new(slow, 1));
        let mut calls: Vec<_> = (0..3).map(|_| tokio_test::task::spawn(service.call(Request::default()))).collect();
        assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
        // One that is given up gives its place in the queue away.
        drop(calls.remove(1));
        for mut call in calls {
            go.notify_one();
            assert!(call.poll().is_ready());
        }
        go.notify_one();
        assert!(
            tokio_test::task::spawn(service.call(Request::default())).poll().is_ready(),
            "nothing holds the permit"
        );
    }

    #[tokio::test]
    async fn a_call_from_within_a_call_is_made_too() {
        static OUTER: OnceLock<NudjService> = OnceLock::new();
        let depth = Arc::new(AtomicUsize::new(0));
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let nested = (depth.fetch_add(1, Relaxed) < 3).then(|| OUTER.get().unwrap().clone().call(request));
            async move {
                match nested {
                    Some(nested) => nested.await,
                    None => Answer::Ok(Response::default()),
                }
            }
        });
        let service = OUTER.get_or_init(|| NudjService::new(inner));
        assert!(service.clone().call(Request::default()).await.is_ok());
    }

    #[tokio::test]
    async fn calls_one_after_the_other_have_one_instance() {
        struct Counted(Arc<AtomicUsize>);
        impl Clone for Counted {
            fn clone(&self) -> Self {
                self.0.fetch_add(1, Relaxed);
                Self(Arc::clone(&self.0))
            }
        }
        let clones = Arc::new(AtomicUsize::new(0));
        let counted = Counted(Arc::clone(&clones));
        let mut service = NudjService::new(service_fn(move |_: Request<Full<Bytes>>| {
            let _ = &counted;
            ready(Answer::Ok(Response::default()))
        }));
        for _ in 0..10 {
            service.call(Request::default()).await.unwrap();
        }
        assert_eq!(clones.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn a_call_that_panics_leaves_no_instance_behind() {
        #[derive(Clone, Default)]
        struct Fragile {
            is_broken: bool,
        }
        impl Service<Request<Full<Bytes>>> for Fragile {
            type Response = Response<Full<Bytes>>;
            type Error = BoxError;
            type Future = std::future::Ready<Answer>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
                assert!(!self.is_broken);
                self.is_broken = true;
                assert!(request.uri().path() != "/panic");
                self.is_broken = false;
                ready(Ok(Response::default()))
            }
        }
        let mut service = NudjService::new(Fragile::default());
        let mut call = |path: &str| {
            let request = Request::get(path).body(Full::default()).unwrap();
            catch_unwind(AssertUnwindSafe(|| service.call(request))).ok()
        };
        assert!(call("/").is_some());
        assert!(call("/panic").is_none());
        assert!(call("/").unwrap().await.is_ok());
    }
}
