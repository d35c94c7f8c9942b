use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use http::{Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    CredentialError, Credentials, Replay, Replaying,
    current::Seen,
    generation::{Generation, valid},
};
use crate::{BoxError, HttpRequest, polled_after_end};

const WHOSE: &str = "a credentials layer's";

/// A service whose requests carry the current credential; made by [`CredentialsLayer`](super::CredentialsLayer).
pub struct Credentialed<S, R = Replaying> {
    inner: S,
    credentials: Credentials,
    replay: R,
    seen: Seen,
}

impl<S, R> Credentialed<S, R> {
    pub(super) fn new(inner: S, credentials: Credentials, replay: R) -> Self {
        Self { inner, credentials, replay, seen: Seen::default() }
    }
}

impl<S: Clone, R: Clone> Clone for Credentialed<S, R> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.credentials.clone(), self.replay.clone())
    }
}

impl<S: fmt::Debug, R: fmt::Debug> fmt::Debug for Credentialed<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentialed")
            .field("inner", &self.inner)
            .field("credentials", &self.credentials)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}

impl<S, R, Req, T> Service<Req> for Credentialed<S, R>
where
    Req: HttpRequest,
    S: Service<Req, Response = Response<T>> + Clone,
    S::Error: Into<BoxError>,
    R: Replay<Req>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = CredentialedFuture<S, Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let Self { inner, credentials, replay, seen } = self;
        let current = seen.look(credentials.current());
        let Some(generation) = valid(current.generation()) else {
            let fetch: Fetch = Box::pin(credentials.clone().first());
            let spare = Some(Spare::of::<R>(credentials, inner.clone(), replay.keep(&request), None));
            let fetching = Some(Box::new(Fetching { fetch, request, refused: None }));
            return CredentialedFuture { state: State::Fetching { fetching }, spare };
        };
        let can_replay = credentials.renews() || generation.fallback.is_some();
        credentials.keep_renewing(generation);
        // A service that is ready is called right here, so that the request is not parked in the future and moved again. One
        // that is not is asked again from the future, which is the one to be woken.
        match inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                dress(&mut request, credentials, generation);
                if !can_replay {
                    drop(current);
                    return CredentialedFuture { state: State::Called { future: inner.call(request) }, spare: None };
                }
                let kept = replay.keep(&request);
                let spare = Some(Spare::of::<R>(credentials, inner.clone(), kept, Some(Arc::clone(generation))));
                drop(current);
                CredentialedFuture { state: State::Called { future: inner.call(request) }, spare }
            }
            Poll::Ready(Err(error)) => {
                CredentialedFuture { state: State::Failed { error: Some(error.into()) }, spare: None }
            }
            Poll::Pending => {
                let clone = inner.clone();
                let unready = mem::replace(inner, clone);
                let kept = if can_replay { replay.keep(&request) } else { None };
                let spare = Some(Spare::of::<R>(credentials, unready, kept, None));
                let sending = Some(Box::new((Arc::clone(generation), request)));
                CredentialedFuture { state: State::Readying { sending }, spare }
            }
        }
    }
}

/// Puts the credential into its header.
fn dress(request: &mut impl HttpRequest, credentials: &Credentials, generation: &Generation) {
    request.headers_mut().insert(credentials.header_name(), generation.value.clone());
}

type Fetch = Pin<Box<dyn Future<Output = Result<Arc<Generation>, CredentialError>> + Send>>;

/// The wait for a credential, and what is sent with it.
struct Fetching<Req, Res> {
    fetch: Fetch,
    request: Req,
    refused: Option<(Res, Arc<Generation>)>,
}

pin_project! {
    /// The future of a [`Credentialed`] call.
    pub struct CredentialedFuture<S, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        state: State<S::Future, Req, S::Response>,
        spare: Option<Box<Spare<S, Req>>>,
    }
}

/// What it takes to send later or again. Boxed, since most calls of a credential that cannot be renewed do without, and every layer
/// above moves this future.
struct Spare<S, Req> {
    inner: S,
    credentials: Credentials,
    kept: Option<Req>,
    is_intact: fn(&Req) -> bool,
    claim: fn(&Req) -> bool,
    /// What the request was last sent with.
    sent: Option<Arc<Generation>>,
    renewable: bool,
}

impl<S, Req> Spare<S, Req> {
    fn of<R: Replay<Req>>(
        credentials: &Credentials,
        inner: S,
        kept: Option<Req>,
        sent: Option<Arc<Generation>>,
    ) -> Box<Self> {
        let (credentials, is_intact, claim) = (credentials.clone(), R::is_intact, R::claim);
        Box::new(Self { inner, credentials, kept, is_intact, claim, sent, renewable: true })
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, Req, Res> {
        // Boxes, which cost no call that has its credential and whose service is ready.
        Fetching { fetching: Option<Box<Fetching<Req, Res>>> },
        Readying { sending: Option<Box<(Arc<Generation>, Req)>> },
        Called { #[pin] future: F },
        Failed { error: Option<BoxError> },
    }
}

impl<S, Req, T> Future for CredentialedFuture<S, Req>
where
    Req: HttpRequest,
    S: Service<Req, Response = Response<T>> + Clone,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<T>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Fetching { fetching } => {
                    let Some(waiting) = fetching else { return Poll::Ready(Err(polled_after_end(WHOSE))) };
                    let fetched = ready!(waiting.fetch.as_mut().poll(cx));
                    let Some(ended) = fetching.take() else { return Poll::Ready(Err(polled_after_end(WHOSE))) };
                    let Fetching { request, refused, .. } = *ended;
                    let generation = match (fetched, refused) {
                        // The same secret again would be refused again.
                        (Ok(new), Some((response, old))) if new.value == old.value => return Poll::Ready(Ok(response)),
                        // Until here the first one was still on its way, and its answer would have broken off with it.
                        (Ok(generation), Some((response, _))) => {
                            if !this.spare.as_ref().is_some_and(|spare| (spare.claim)(&request)) {
                                return Poll::Ready(Ok(response));
                            }
                            generation
                        }
                        (Ok(generation), None) => generation,
                        // The server's own word says more than that no other credential could be had.
                        (Err(_), Some((response, _))) => return Poll::Ready(Ok(response)),
                        (Err(error), None) => return Poll::Ready(Err(error.into())),
                    };
                    this.state.set(State::Readying { sending: Some(Box::new((generation, request))) });
                }
                StateProj::Readying { sending } => {
                    let Some(spare) = this.spare else { return Poll::Ready(Err(polled_after_end(WHOSE))) };
                    ready!(spare.inner.poll_ready(cx)).map_err(Into::into)?;
                    let Some(sent) = sending.take() else { return Poll::Ready(Err(polled_after_end(WHOSE))) };
                    let (chosen, mut request) = *sent;
                    // It was chosen before a wait that may have been long.
                    let current = valid(spare.credentials.current().load().as_ref()).map(Arc::clone);
                    let Some(generation) = current.or_else(|| valid(Some(&chosen)).map(Arc::clone)) else {
                        // What is ready holds a place that others can use meanwhile.
                        spare.inner = spare.inner.clone();
                        let fetch: Fetch = Box::pin(spare.credentials.clone().first());
                        let fetching = Some(Box::new(Fetching { fetch, request, refused: None }));
                        this.state.set(State::Fetching { fetching });
                        continue;
                    };
                    dress(&mut request, &spare.credentials, &generation);
                    let future = spare.inner.call(request);
                    spare.sent = Some(generation);
                    this.state.set(State::Called { future });
                }
                StateProj::Called { future } => {
                    // The answer goes by in place. To look at it, it has to be moved.
                    let Some(spare) = this.spare else { return future.poll(cx).map_err(Into::into) };
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    let Some(generation) = &spare.sent else { return Poll::Ready(Ok(response)) };
                    if response.status() != StatusCode::UNAUTHORIZED {
                        // Whoever sheds load, redirects or fails may not have looked at the credential.
                        if response.status().is_success() {
                            spare.credentials.accepted(generation);
                        }
                        return Poll::Ready(Ok(response));
                    }
                    let refused = generation.number;
                    let old = Arc::clone(generation);
                    if !mem::take(&mut spare.renewable) || !spare.credentials.can_replay() {
                        return Poll::Ready(Ok(response));
                    }
                    let credentials = spare.credentials.clone();
                    let Some(request) = spare.kept.take().filter(spare.is_intact) else {
                        // Nothing to replay, but the calls to come should not meet the same refusal.
                        tokio::spawn(async move { credentials.after_refusal(refused).await.map(drop) });
                        return Poll::Ready(Ok(response));
                    };
                    let fetch: Fetch = Box::pin(credentials.after_refusal(refused));
                    let fetching = Fetching { fetch, request, refused: Some((response, old)) };
                    this.state.set(State::Fetching { fetching: Some(Box::new(fetching)) });
                }
                StateProj::Failed { error } => {
                    return Poll::Ready(Err(error.take().unwrap_or_else(|| polled_after_end(WHOSE))));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for CredentialedFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialedFuture").finish_non_exhaustive()
    }
}
