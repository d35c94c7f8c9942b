use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::{
    guard::{Guard, Shared},
    keys::{Leases, Limiters, Single},
    limiter::Admission,
    rules::Rules,
};
use crate::{
    BoxError, Rejection,
    classify::{Classify, Http},
    clock, polled_after_end,
};

const WHOSE: &str = "a rate limiter's";

/// The service of [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug)]
pub struct RateLimit<S, C = Http, L = Single> {
    inner: S,
    shared: Arc<Shared<C, L>>,
}

impl<S, C, L> RateLimit<S, C, L> {
    pub(super) fn new(inner: S, limiters: L, rules: Rules<C>) -> Self {
        Self { inner, shared: Arc::new(Shared { limiters, rules }) }
    }

    /// The service below.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, L, Req> Service<Req> for RateLimit<S, C, L>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
    L: Limiters<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RateLimitFuture<S, Req, C, L>;

    /// Always ready: who waits, waits in the future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut guard = Guard::new(&self.shared, self.shared.limiters.of(&request));
        let state = match self.shared.rules.ask::<Req, S::Response>(Some(&request)) {
            Err(rejection) => {
                guard.gate().count_refusal();
                State::failed(rejection)
            }
            // With quota in hand, an inner service that is ready is called right here.
            Ok(()) if guard.take() => match self.inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(())) => {
                    guard.spend();
                    return RateLimitFuture { guard, state: State::Called { future: self.inner.call(request) } };
                }
                Poll::Ready(Err(error)) => State::failed(error),
                Poll::Pending => self.unready(request),
            },
            Ok(()) => {
                guard.line_up();
                State::queued(self.inner.clone(), request)
            }
        };
        RateLimitFuture { state, guard }
    }
}

impl<S: Clone, C, L> RateLimit<S, C, L> {
    /// Has the inner service driven by the future, which asks again with its own waker.
    fn unready<Req>(&mut self, request: Req) -> State<S, Req, S::Future>
    where
        S: Service<Req>,
    {
        let clone = self.inner.clone();
        State::Unready { waiting: Some(Box::new((mem::replace(&mut self.inner, clone), request))) }
    }
}

impl<S: Clone, C, L> Clone for RateLimit<S, C, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

pin_project! {
    /// The future of [`RateLimit`].
    pub struct RateLimitFuture<S, Req, C, L>
    where
        S: Service<Req>,
        L: Leases,
    {
        // Before the guard, so that a call's own resources are free before its quota goes to the next.
        #[pin]
        state: State<S, Req, S::Future>,
        guard: Guard<C, L>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, F> {
        // What waits is boxed: the layers above move this future, and most calls wait for nothing.
        /// Waits for quota.
        Queued { waiting: Option<Box<(S, Req)>>, turn: Pin<Box<Turn>> },
        /// Has quota and waits for the inner service.
        Unready { waiting: Option<Box<(S, Req)>> },
        Called { #[pin] future: F },
        Failed { error: Option<BoxError> },
    }
}

pin_project! {
    /// A place in the queue; only its head has a timer.
    #[derive(Default)]
    struct Turn {
        since: Option<Instant>,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<S, Req, F> State<S, Req, F> {
    fn queued(inner: S, request: Req) -> Self {
        Self::Queued { waiting: Some(Box::new((inner, request))), turn: Box::pin(Turn::default()) }
    }

    fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed { error: Some(error.into()) }
    }
}

impl<S, Req, C, L> Future for RateLimitFuture<S, Req, C, L>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
    L: Leases,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Queued { waiting, turn } => {
                    match ready!(poll_quota(waiting.as_deref(), turn.as_mut(), this.guard, cx)) {
                        Ok(()) => State::Unready { waiting: waiting.take() },
                        Err(rejection) => State::failed(rejection),
                    }
                }
                StateProj::Unready { waiting } => {
                    let Some((inner, _)) = waiting.as_deref_mut() else {
                        return Poll::Ready(Err(polled_after_end(WHOSE)));
                    };
                    match ready!(inner.poll_ready(cx)) {
                        Err(error) => State::failed(error),
                        Ok(()) => {
                            let Some((mut inner, request)) = waiting.take().map(|waiting| *waiting) else { continue };
                            this.guard.spend();
                            State::Called { future: inner.call(request) }
                        }
                    }
                }
                StateProj::Called { future } => {
                    let result = ready!(future.poll(cx)).map_err(Into::into);
                    if !this.guard.rules().learn::<Req, _>(&result, this.guard.gate()) {
                        this.guard.refund();
                    }
                    return Poll::Ready(result);
                }
                StateProj::Failed { error } => {
                    return Poll::Ready(Err(error.take().unwrap_or_else(|| polled_after_end(WHOSE))));
                }
            };
            this.state.set(next);
        }
    }
}

/// Ready with quota in the guard, or with why there is none.
fn poll_quota<S, Req, Res, C: Classify<Req, Res>, L: Leases>(
    waiting: Option<&(S, Req)>,
    turn: Pin<&mut Turn>,
    guard: &mut Guard<C, L>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Rejection>> {
    let mut turn = turn.project();
    let request = waiting.map(|(_, request)| request);
    loop {
        let now = clock::read();
        let gate = guard.gate();
        let settings = gate.settings();
        let at = settings.nanos(now);
        let admission = match guard.place() {
            Some(ticket) => gate.check(ticket, at, cx),
            None => {
                let context = request.and_then(|request| guard.rules().classifier.context(request));
                let deadline = context.and_then(|context| context.deadline()).map(|deadline| settings.nanos(deadline));
                gate.admit(at, deadline, cx)
            }
        };
        let alarm = match admission {
            Admission::Waits { alarm: Some(alarm), .. } => Some(settings.instant(alarm)),
            _ => None,
        };
        guard.hold(&admission);
        match admission {
            Admission::Refused(refusal) => {
                guard.rules().tell_refused(&refusal);
                return Poll::Ready(Err(refusal.rejection()));
            }
            Admission::Granted(_) => {
                if let Some(since) = turn.since {
                    // The endpoints may have gone while it waited; the quota then goes to the next at once.
                    if let Err(rejection) = guard.rules().ask(request) {
                        return Poll::Ready(Err(refuse(guard, rejection)));
                    }
                    guard.rules().tell_waited(now.saturating_duration_since(*since));
                }
                return Poll::Ready(Ok(()));
            }
            Admission::Waits { .. } => {}
        }
        turn.since.get_or_insert(now);
        let Some(alarm) = alarm else { return Poll::Pending };
        if let Err(rejection) = guard.rules().ask(request) {
            return Poll::Ready(Err(refuse(guard, rejection)));
        }
        match alarm {
            Some(alarm) => {
                match turn.timer.as_mut().as_pin_mut() {
                    Some(sleep) => sleep.reset(alarm),
                    None => turn.timer.set(Some(sleep_until(alarm))),
                }
                if let Some(sleep) = turn.timer.as_mut().as_pin_mut() {
                    ready!(sleep.poll(cx));
                }
            }
            // Further off than a clock goes.
            None => return Poll::Pending,
        }
    }
}

fn refuse<C, L: Leases>(guard: &mut Guard<C, L>, rejection: Rejection) -> Rejection {
    guard.gate().count_refusal();
    guard.refund();
    rejection
}

impl<S, Req, C, L> fmt::Debug for RateLimitFuture<S, Req, C, L>
where
    S: Service<Req>,
    L: Leases,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").field("guard", &self.guard).finish_non_exhaustive()
    }
}
