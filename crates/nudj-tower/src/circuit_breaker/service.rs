use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    handle::{BreakerHandle, Shared},
    owner::{Lent, Owner},
    state::{End, Permit, Tick},
};
use crate::{
    Availability, Available, BoxError, CallContext, Refused, Rejection, TryCall,
    classify::{Classify, Http, Outcome, Verdict},
    context::Mark,
    polled_after_end,
};

/// Not started yet. A plain number, because an `Option<Instant>` costs each call 5 ns more (its parts are written
/// one by one and then moved as one).
const NEVER: Tick = Tick(u64::MAX);

/// A service behind a circuit breaker; made by [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
///
/// A clone shares the circuit.
#[derive(Clone)]
pub struct CircuitBreaker<S, C = Http> {
    inner: S,
    shared: Owner,
    classifier: C,
}

impl<S, C> CircuitBreaker<S, C> {
    pub(super) fn new(inner: S, shared: Owner, classifier: C) -> Self {
        Self { inner, shared, classifier }
    }

    /// Reads the circuit and drives it, without a call.
    #[must_use]
    pub fn handle(&self) -> BreakerHandle {
        BreakerHandle(Arc::clone(self.shared.shared()))
    }

    /// The service behind the breaker.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    #[inline]
    fn begin<Req>(&mut self, permit: Permit, request: Req) -> CircuitBreakerFuture<S::Future, C, Req>
    where
        S: Service<Req>,
        C: Classify<Req, S::Response> + Clone,
    {
        begin(&mut self.inner, &self.shared, || self.shared.lend(), permit, &self.classifier, request)
    }
}

/// Calls the service at once, on the instance that was polled ready.
#[inline]
pub(super) fn begin<S, C, Req>(
    inner: &mut S,
    shared: &Shared,
    lend: impl FnOnce() -> Lent,
    permit: Permit,
    classifier: &C,
    request: Req,
) -> CircuitBreakerFuture<S::Future, C, Req>
where
    S: Service<Req>,
    C: Classify<Req, S::Response> + Clone,
{
    let deadline = classifier.context(&request).map_or(Mark::NEVER, CallContext::deadline_mark);
    let (classifier, started, progress) = (classifier.clone(), NEVER, Progress::Unpolled);
    let lent = lend();
    let guard = PanicGuard { shared, permit };
    let inner = inner.call(request);
    mem::forget(guard);
    // Nothing else between the call and the return, so that the future can be built where it is wanted.
    CircuitBreakerFuture {
        request: PhantomData,
        stage: Stage::Called { shared: lent, permit, classifier, deadline, started, progress, inner },
    }
}

impl<S, C, Req> Service<Req> for CircuitBreaker<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = CircuitBreakerFuture<S::Future, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.shared.admit() {
            Ok(permit) => self.begin(permit, request),
            Err(rejection) => CircuitBreakerFuture::refused(rejection),
        }
    }
}

impl<S, C, Req> TryCall<Req> for CircuitBreaker<S, C>
where
    S: Service<Req> + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response> + Clone + Send + Sync + 'static,
{
    fn try_call(&mut self, request: Req) -> Result<Self::Future, Refused<Req>> {
        match self.shared.admit() {
            Ok(permit) => Ok(self.begin(permit, request)),
            Err(rejection) => Err(Refused { request, rejection }),
        }
    }
}

impl<S: Send + Sync + 'static, C: Send + Sync + 'static> Available for CircuitBreaker<S, C> {
    fn availability(&self) -> Availability {
        self.shared.availability()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("breaker", self.shared.shared())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer behind a [`CircuitBreaker`], or its refusal. Dropped before its end it counts as a failure only if the call hung.
    pub struct CircuitBreakerFuture<F, C, Req> {
        #[pin]
        stage: Stage<F, C>,
        request: PhantomData<fn(Req)>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, C> {
        Called {
            #[pin]
            inner: F,
            shared: Lent,
            permit: Permit,
            classifier: C,
            deadline: Mark,
            started: Tick,
            progress: Progress,
        },
        Refused {
            rejection: Option<Rejection>,
        },
    }

    impl<F, C> PinnedDrop for Stage<F, C> {
        fn drop(this: Pin<&mut Self>) {
            if let StageProj::Called { shared, permit, deadline, started, progress, .. } = this.project() {
                let end = match *progress {
                    Progress::Done => return,
                    Progress::Unpolled => Outcome::Ignored.into(),
                    Progress::Pending => abandoned(shared, *deadline, *started),
                    // It was being polled and did not come back: it panicked.
                    Progress::Polling => Outcome::Failure.into(),
                };
                shared.settle(*permit, end, || shared.now());
            }
        }
    }
}

impl<F, C, Req> CircuitBreakerFuture<F, C, Req> {
    pub(super) fn refused(rejection: Rejection) -> Self {
        Self { stage: Stage::Refused { rejection: Some(rejection) }, request: PhantomData }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Unpolled,
    Polling,
    Pending,
    Done,
}

/// What it says about the other side that the caller dropped a call in flight.
#[cold]
fn abandoned(shared: &Shared, deadline: Mark, started: Tick) -> End {
    let now = shared.now();
    let took = if started == NEVER { Duration::ZERO } else { now.since(started) };
    let hung = shared.breaker.rules().abandoned_after.is_some_and(|limit| took >= limit);
    let is_over = deadline.time().is_some_and(|deadline| now >= shared.tick(deadline));
    let outcome = if hung || is_over { Outcome::Failure } else { Outcome::Ignored };
    End { outcome, took, retry_after: None }
}

impl<F, C, Req, Res, E> Future for CircuitBreakerFuture<F, C, Req>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    C: Classify<Req, Res>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (inner, shared, permit, classifier, started, progress) = match self.project().stage.project() {
            StageProj::Called { inner, shared, permit, classifier, started, progress, .. } => {
                (inner, shared, *permit, classifier, started, progress)
            }
            StageProj::Refused { rejection } => {
                let error = rejection.take().map(BoxError::from);
                return Poll::Ready(Err(error.unwrap_or_else(|| polled_after_end("a circuit breaker's"))));
            }
        };
        let was = mem::replace(progress, Progress::Polling);
        let Poll::Ready(result) = inner.poll(cx) else {
            if *started == NEVER && shared.breaker.rules().needs_start() {
                *started = shared.now();
            }
            *progress = Progress::Pending;
            return Poll::Pending;
        };
        let mut settle = |verdict: Verdict| {
            *progress = Progress::Done;
            if was != Progress::Done {
                settle(shared, permit, verdict, *started);
            }
        };
        Poll::Ready(match result {
            Ok(response) => {
                settle(classifier.classify(Ok(&response)));
                Ok(response)
            }
            Err(error) => {
                let error = error.into();
                settle(classifier.classify(Err(&*error)));
                Err(error)
            }
        })
    }
}

#[inline]
fn settle(shared: &Shared, permit: Permit, verdict: Verdict, started: Tick) {
    let end = End { outcome: verdict.outcome, took: Duration::ZERO, retry_after: verdict.retry_after };
    if started != NEVER && shared.breaker.rules().slow_call.is_some() {
        // One look at the clock serves both questions: how long, and when.
        let now = shared.now();
        shared.settle(permit, End { took: now.since(started), ..end }, || now);
    } else {
        shared.settle(permit, end, || shared.now());
    }
}

impl<F, C, Req> fmt::Debug for CircuitBreakerFuture<F, C, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerFuture").finish_non_exhaustive()
    }
}

/// Dropped only when the inner service panics in `call`.
struct PanicGuard<'a> {
    shared: &'a Shared,
    permit: Permit,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.shared.settle(self.permit, Outcome::Failure.into(), || self.shared.now());
    }
}
