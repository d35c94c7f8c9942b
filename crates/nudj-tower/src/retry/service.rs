use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Request;
use http_body::Body;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::{
    Keep, KeepHttp, KeepReplay, ReplayBody,
    policy::{Kept, Planned, Policy},
};
use crate::{
    BoxError,
    classify::{Classify, Http},
    polled_after_end,
};

/// A service whose requests are sent again when that may help; see the [module's page](super).
///
/// The first request of a call goes to the inner instance that was polled ready, each repeat to a clone made for it. tower's own service
/// clones with every call, repeated or not.
pub struct Retry<S, C = Http, K = KeepHttp> {
    inner: S,
    shared: Arc<Shared<S, C, K>>,
}

struct Shared<S, C, K> {
    policy: Policy<C, K>,
    /// What repeats are sent by a clone of. In a lock, so that it need not be [`Sync`].
    template: Mutex<S>,
}

impl<S, C, K> Retry<S, C, K> {
    pub(super) fn new(policy: Policy<C, K>, inner: S) -> Self
    where
        S: Clone,
    {
        let template = Mutex::new(inner.clone());
        Self { inner, shared: Arc::new(Shared { policy, template }) }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, K, Req> Service<Req> for Retry<S, C, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
    K: Keep<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RetryFuture<S, Req, C, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let kept = self.shared.policy.begin(&request);
        let shared = Arc::clone(&self.shared);
        RetryFuture { kept, shared, state: State::Called { future: self.inner.call(request) } }
    }
}

impl<S: Clone, C, K> Clone for Retry<S, C, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, C, K> fmt::Debug for Retry<S, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).field("policy", &self.shared.policy).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Retry`]. Dropped during a wait, it gives back what the budget had granted.
    pub struct RetryFuture<S, Req, C, K>
    where
        S: Service<Req>,
        K: Keep<Req>,
    {
        #[pin]
        state: State<S::Future, S, Req>,
        kept: Option<Kept<K::Kept>>,
        shared: Arc<Shared<S, C, K>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, S, Req> {
        Called { #[pin] future: F },
        // Boxed: the layers above move this future, and most calls are not repeated.
        Waiting { wait: Pin<Box<Sleep>>, planned: Option<Box<Planned<Req>>> },
        Readying { service: Box<S>, planned: Option<Box<Planned<Req>>> },
    }
}

impl<S, Req, C, K> Future for RetryFuture<S, Req, C, K>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
    K: Keep<Req>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Shared { policy, template } = &**this.shared;
        let readying = |planned| State::Readying { service: Box::new(template.lock().clone()), planned };
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Called { future } => {
                    let result = ready!(future.poll(cx)).map_err(Into::into);
                    let Some(planned) = policy.retry(this.kept, &result) else { return Poll::Ready(result) };
                    let (delay, planned) = (planned.delay, Some(Box::new(planned)));
                    if delay.is_zero() {
                        readying(planned)
                    } else {
                        State::Waiting { wait: Box::pin(sleep(delay)), planned }
                    }
                }
                StateProj::Waiting { wait, planned } => {
                    ready!(wait.as_mut().poll(cx));
                    readying(planned.take())
                }
                StateProj::Readying { service, planned } => {
                    let ready = ready!(service.poll_ready(cx)).map_err(Into::into);
                    // Dropped where there is an error, which gives back what was granted.
                    let Some(planned) = planned.take() else {
                        return Poll::Ready(Err(polled_after_end("a retry's")));
                    };
                    ready?;
                    let (request, next) = policy.resend(*planned);
                    *this.kept = next;
                    State::Called { future: service.call(request) }
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Service<Req>, Req, C, K: Keep<Req>> fmt::Debug for RetryFuture<S, Req, C, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").finish_non_exhaustive()
    }
}

/// [`Retry`] over bodies that stream: below it, requests carry a [`ReplayBody`].
#[derive(Clone, Debug)]
pub struct ReplayingRetry<S, C = Http> {
    retry: Retry<S, C, KeepReplay>,
    cap: usize,
}

impl<S, C> ReplayingRetry<S, C> {
    pub(super) fn new(retry: Retry<S, C, KeepReplay>, cap: usize) -> Self {
        Self { retry, cap }
    }
}

impl<S, C, B> Service<Request<B>> for ReplayingRetry<S, C>
where
    B: Body,
    Retry<S, C, KeepReplay>: Service<Request<ReplayBody<B>>>,
{
    type Response = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Response;
    type Error = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Error;
    type Future = <Retry<S, C, KeepReplay> as Service<Request<ReplayBody<B>>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.retry.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.retry.call(request.map(|body| ReplayBody::new(body, self.cap)))
    }
}
