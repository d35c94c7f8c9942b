use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    member::Member,
    own::{self, Own},
    search::Search,
    service::Shared,
};
use crate::{
    BoxError, Refused, TryCall,
    classify::{Classify, Outcome},
    polled_after_end,
};

const WHOSE: &str = "a balancer's";

pin_project! {
    /// The future of [`RoundRobin`](super::RoundRobin). Dropping it gives back whatever it holds of the endpoint.
    pub struct RoundRobinFuture<F, S, Req, C> {
        #[pin]
        stage: Stage<F, S, Req>,
        classifier: C,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, S, Req> {
        // Boxed: the layers above move this future, and most endpoints are ready.
        Readying {
            readying: Option<Box<Readying<S, Req>>>,
        },
        Called {
            #[pin]
            inner: F,
            member: Arc<Member>,
            // Read only where a late drop speaks against the endpoint.
            deadline: Option<Instant>,
            progress: Progress,
        },
        Ended {
            error: Option<BoxError>,
        },
    }

    impl<F, S, Req> PinnedDrop for Stage<F, S, Req> {
        fn drop(this: Pin<&mut Self>) {
            match this.project() {
                StageProj::Called { member, deadline, progress, .. } => {
                    let failed = match *progress {
                        Progress::Done => return,
                        // It was being polled and did not come back: it panicked.
                        Progress::Polling => true,
                        Progress::Waiting => is_over(*deadline),
                    };
                    member.end(None, failed);
                }
                StageProj::Readying { readying: Some(readying) } => {
                    let Readying { search, chosen: Chosen { member, .. }, .. } = &**readying;
                    if is_over(search.deadline(member)) {
                        member.begin();
                        member.end(None, true);
                    }
                }
                StageProj::Readying { readying: None } | StageProj::Ended { .. } => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Polling,
    Done,
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// An endpoint whose turn it is.
pub(super) struct Chosen<S> {
    pub(super) member: Arc<Member>,
    pub(super) service: S,
    pub(super) untried: u32,
}

/// A request on its way to an endpoint that is not ready yet.
struct Readying<S, Req> {
    shared: Arc<Shared<S>>,
    search: Search,
    request: Req,
    chosen: Chosen<S>,
}

impl<F, S, Req, C> RoundRobinFuture<F, S, Req, C>
where
    S: TryCall<Req, Future = F> + Clone,
    S::Error: Into<BoxError>,
{
    #[inline]
    pub(super) fn new(
        shared: &Arc<Shared<S>>,
        own: &mut Own<S>,
        search: Search,
        request: Req,
        classifier: C,
        cx: &mut Context<'_>,
    ) -> Self {
        Self { classifier, stage: Stage::begin(shared, own, search, request, cx) }
    }
}

impl<S> Chosen<S> {
    /// Asks the endpoint something, for which a panic in there is a failure like one that comes later.
    #[inline]
    fn ask<T>(&mut self, ask: impl FnOnce(&mut S) -> T) -> T {
        struct Panicked<'m>(&'m Member);
        impl Drop for Panicked<'_> {
            fn drop(&mut self) {
                self.0.begin();
                self.0.end(Some(Outcome::Failure), true);
            }
        }
        let panicked = Panicked(&self.member);
        let answer = ask(&mut self.service);
        std::mem::forget(panicked);
        answer
    }
}

impl<F, S, Req> Stage<F, S, Req>
where
    S: TryCall<Req, Future = F> + Clone,
    S::Error: Into<BoxError>,
{
    /// Calls the endpoint whose turn it is, by the service's own instance where there is one.
    #[inline]
    fn begin(
        shared: &Arc<Shared<S>>,
        own: &mut Own<S>,
        mut search: Search,
        request: Req,
        cx: &mut Context<'_>,
    ) -> Self {
        let chosen = match own.of(shared) {
            Some((list, services)) => search.next(list).map(|found| {
                let service = own::take(list, services, &found);
                let member = Arc::clone(&list.set.slots[found.place].member);
                (Chosen { member, service, untried: found.untried }, Some(&mut services[found.place]))
            }),
            None => shared.next(&mut search).map(|chosen| (chosen, None)),
        };
        let (mut chosen, place) = match chosen {
            Ok(chosen) => chosen,
            Err(error) => return Self::Ended { error: Some(error) },
        };
        let readiness = chosen.ask(|service| service.poll_ready(cx));
        Self::go(shared, search, request, chosen, place, readiness, cx)
    }

    /// Calls the chosen endpoint whose `readiness` this is, or the next that takes the request; stops at one that is not ready.
    /// Its instance goes to its `place`, where it has one, once it was called.
    #[inline]
    fn go(
        shared: &Arc<Shared<S>>,
        mut search: Search,
        mut request: Req,
        mut chosen: Chosen<S>,
        mut place: Option<&mut Option<S>>,
        mut readiness: Poll<Result<(), S::Error>>,
        cx: &mut Context<'_>,
    ) -> Self {
        loop {
            match readiness {
                Poll::Pending => {
                    let readying = Readying { shared: Arc::clone(shared), search, request, chosen };
                    return Self::Readying { readying: Some(Box::new(readying)) };
                }
                Poll::Ready(Err(error)) => {
                    // Nothing was sent, so nothing is lost by asking the next.
                    search.broken(chosen.member.id, error.into());
                    chosen.member.begin();
                    chosen.member.end(Some(Outcome::Failure), true);
                }
                Poll::Ready(Ok(())) => match chosen.ask(|service| service.try_call(request)) {
                    Ok(inner) => {
                        let Chosen { member, service, untried } = chosen;
                        if let Some(place) = place {
                            *place = Some(service);
                        }
                        return Self::called(inner, member, untried, &search);
                    }
                    Err(Refused { request: back, rejection }) => {
                        request = back;
                        search.refused(chosen.member.id, rejection);
                    }
                },
            }
            // Its instance is let go before the next is asked, which may need what that had reserved.
            place = None;
            chosen = match shared.next(&mut search) {
                Ok(chosen) => chosen,
                Err(error) => return Self::Ended { error: Some(error) },
            };
            readiness = chosen.ask(|service| service.poll_ready(cx));
        }
    }

    #[inline]
    fn called(inner: F, member: Arc<Member>, untried: u32, search: &Search) -> Self {
        member.begin();
        if let Some(context) = &search.context {
            context.record_try(member.id, &member.name, untried);
        }
        let deadline = search.deadline(&member);
        Self::Called { inner, member, deadline, progress: Progress::Waiting }
    }
}

impl<F, S, Req, C, Res, E> Future for RoundRobinFuture<F, S, Req, C>
where
    F: Future<Output = Result<Res, E>>,
    S: TryCall<Req, Future = F, Response = Res, Error = E> + Clone,
    E: Into<BoxError>,
    C: Classify<Req, Res>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Called { inner, member, progress, .. } => {
                    *progress = Progress::Polling;
                    let Poll::Ready(result) = inner.poll(cx) else {
                        *progress = Progress::Waiting;
                        return Poll::Pending;
                    };
                    let result = result.map_err(Into::into);
                    let verdict = this.classifier.classify(result.as_ref().map_err(|error| &**error as _));
                    *progress = Progress::Done;
                    member.end(Some(verdict.outcome), verdict.outcome == Outcome::Failure);
                    return Poll::Ready(result);
                }
                StageProj::Readying { readying } => {
                    // Taken out while it is asked, so that a drop after a panic in there counts nothing more.
                    let Some(mut waiting) = readying.take() else { return Poll::Ready(Err(polled_after_end(WHOSE))) };
                    let readiness = waiting.chosen.ask(|service| service.poll_ready(cx));
                    if readiness.is_pending() {
                        *readying = Some(waiting);
                        return Poll::Pending;
                    }
                    let Readying { shared, search, request, chosen } = *waiting;
                    this.stage.set(Stage::go(&shared, search, request, chosen, None, readiness, cx));
                }
                StageProj::Ended { error } => {
                    return Poll::Ready(Err(error.take().unwrap_or_else(|| polled_after_end(WHOSE))));
                }
            }
        }
    }
}

impl<F, S, Req, C> fmt::Debug for RoundRobinFuture<F, S, Req, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobinFuture").finish_non_exhaustive()
    }
}
