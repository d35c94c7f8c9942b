use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    BoxError, CallContext, Rejection,
    classify::{Classify, Http},
    clock,
    timer::{self, LazyTimer},
};

/// A service whose calls end by their deadline; see the [module's page](super).
#[derive(Clone, Debug)]
pub struct Deadline<S, C = Http> {
    inner: S,
    total: Duration,
    classifier: C,
    promises: Promises,
}

/// What is known of the layers below.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promises {
    /// Every try is noted in the context.
    pub(super) tries_counted: bool,
    /// A call stays in the task that polls it first.
    pub(super) one_task: bool,
}

impl<S, C> Deadline<S, C> {
    pub(super) fn new(inner: S, total: Duration, classifier: C, promises: Promises) -> Self {
        Self { inner, total, classifier, promises }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C> Deadline<S, C> {
    /// Gives the request a context when it has none and can carry one.
    fn attach_context<Req>(&self, request: &mut Req)
    where
        S: Service<Req>,
        C: Classify<Req, S::Response>,
    {
        if self.classifier.carries_context() && self.classifier.context(request).is_none() {
            self.classifier.attach(request, &CallContext::new());
        }
    }

    #[inline]
    fn begin<Req>(&mut self, mut request: Req) -> DeadlineFuture<S::Future>
    where
        S: Service<Req>,
        C: Classify<Req, S::Response>,
    {
        let now = clock::read();
        // A sum beyond what an instant holds is a deadline that never comes.
        let (mut deadline, mut allowed) = (now.checked_add(self.total), self.total);
        self.attach_context(&mut request);
        let context = self.classifier.context(&request);
        if let Some(context) = context {
            let ours_holds = deadline.is_some_and(|ours| context.bring_forward(ours));
            if !ours_holds {
                deadline = context.deadline();
                allowed = deadline.map_or(self.total, |at| at.saturating_duration_since(now));
            }
        }
        let one_task = self.promises.one_task;
        if allowed.is_zero() {
            return DeadlineFuture { state: State::Late, allowed, one_task };
        }
        let context = context.filter(|_| self.promises.tries_counted).cloned();
        let inner = self.inner.call(request);
        DeadlineFuture {
            allowed,
            one_task,
            state: State::Called { inner, timer: LazyTimer::default(), deadline, context },
        }
    }
}

impl<S, C, Req> Service<Req> for Deadline<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        clock::step(|| self.begin(request))
    }
}

pin_project! {
    /// The future of [`Deadline`].
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        state: State<F>,
        allowed: Duration,
        one_task: bool,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Called {
            #[pin]
            inner: F,
            timer: LazyTimer,
            deadline: Option<Instant>,
            context: Option<CallContext>,
        },
        Late,
    }
}

impl<F, Res, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let sent = match this.state.project() {
            StateProj::Late => false,
            StateProj::Called { inner, timer, deadline, context } => {
                timer::forget();
                if let Poll::Ready(result) = inner.poll(cx) {
                    return Poll::Ready(result.map_err(Into::into));
                }
                let Some(deadline) = *deadline else { return Poll::Pending };
                // An attempt's timer is mostly the earlier one. Two would cost twice, and mostly neither ever fires.
                if *this.one_task && timer::woken_at(cx).is_some_and(|at| at <= deadline) {
                    return Poll::Pending;
                }
                ready!(timer.poll_until(cx, deadline));
                context.as_ref().is_none_or(|context| context.tries() > 0)
            }
        };
        Poll::Ready(Err(Rejection::DeadlineExceeded { total: *this.allowed, sent }.into()))
    }
}
