use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use http::{HeaderName, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{CredentialError, Credentials, generation::Generation};
use crate::BoxError;

/// A service whose requests carry the current credential; made by [`CredentialsLayer`](super::CredentialsLayer).
#[derive(Clone, Debug)]
pub struct Credentialed<S, R = Replaying> {
    inner: S,
    credentials: Credentials,
    name: HeaderName,
    replay: R,
}

impl<S, R> Credentialed<S, R> {
    pub(super) fn new(inner: S, credentials: Credentials, replay: R) -> Self {
        Self { inner, name: credentials.header_name(), credentials, replay }
    }
}

/// Whether and how a copy of a request is kept for a replay.
pub trait Replay<B> {
    /// The copy, if there can be one.
    fn keep(&self, request: &Request<B>) -> Option<Request<B>>;
}

/// Keeps a copy of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replaying;

/// Keeps none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

impl<B: Clone> Replay<B> for Replaying {
    fn keep(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

impl<B> Replay<B> for Once {
    fn keep(&self, _: &Request<B>) -> Option<Request<B>> {
        None
    }
}

impl<S, R, B, T> Service<Request<B>> for Credentialed<S, R>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
    S::Error: Into<BoxError>,
    R: Replay<B>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = CredentialedFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(generation) = self.credentials.current() else {
            let credentials = self.credentials.clone();
            let fetch: Fetching = Box::pin(async move { credentials.renewed(None).await });
            let spare = Some(Spare::of(self, self.inner.clone(), self.replay.keep(&request)));
            return CredentialedFuture {
                state: State::Fetching { fetch, request: Some(request), refused: None },
                spare,
            };
        };
        let can_replay = self.credentials.renews() || generation.fallback.is_some();
        let kept = if can_replay { self.replay.keep(&request) } else { None };
        // A service that is ready is called right here, so that the request is not parked in the future and moved again. One
        // that is not is asked again from the future, which is the one to be woken.
        match self.inner.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                let spare = can_replay.then(|| Spare::of(self, self.inner.clone(), kept));
                let future = self.inner.call(dressed(request, &self.name, &generation));
                CredentialedFuture { state: State::Called { future, generation }, spare }
            }
            Poll::Ready(Err(error)) => {
                CredentialedFuture { state: State::Failed { error: Some(error.into()) }, spare: None }
            }
            Poll::Pending => {
                let clone = self.inner.clone();
                let unready = mem::replace(&mut self.inner, clone);
                let spare = Some(Spare::of(self, unready, kept));
                CredentialedFuture { state: State::Readying { sending: Some((generation, request)) }, spare }
            }
        }
    }
}

/// The request with the credential in its header.
fn dressed<B>(mut request: Request<B>, name: &HeaderName, generation: &Generation) -> Request<B> {
    request.headers_mut().insert(name.clone(), generation.value.clone());
    request
}

type Fetching = Pin<Box<dyn Future<Output = Result<Arc<Generation>, CredentialError>> + Send>>;

pin_project! {
    /// The future of a [`Credentialed`] call.
    pub struct CredentialedFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S::Future, B, S::Response>,
        spare: Option<Box<Spare<S, B>>>,
    }
}

/// What it takes to send later or again. Boxed, since most calls of a credential that cannot be renewed do without, and every layer
/// above moves this future.
struct Spare<S, B> {
    inner: S,
    credentials: Credentials,
    name: HeaderName,
    kept: Option<Request<B>>,
    renewable: bool,
}

impl<S, B> Spare<S, B> {
    fn of<R>(service: &Credentialed<S, R>, inner: S, kept: Option<Request<B>>) -> Box<Self> {
        let (credentials, name) = (service.credentials.clone(), service.name.clone());
        Box::new(Self { inner, credentials, name, kept, renewable: true })
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B, Res> {
        // Only when there is nothing valid: a box here costs no call that has its credential.
        Fetching { fetch: Fetching, request: Option<Request<B>>, refused: Option<(Res, Arc<Generation>)> },
        Readying { sending: Option<(Arc<Generation>, Request<B>)> },
        Called { #[pin] future: F, generation: Arc<Generation> },
        Failed { error: Option<BoxError> },
    }
}

impl<S, B, T> Future for CredentialedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<T>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<T>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Fetching { fetch, request, refused } => {
                    let generation = match (ready!(fetch.as_mut().poll(cx)), refused.take()) {
                        // The same secret again would be refused again.
                        (Ok(new), Some((response, old))) if new.value == old.value => return Poll::Ready(Ok(response)),
                        (Ok(generation), _) => generation,
                        // The server's own word says more than that no other credential could be had.
                        (Err(_), Some((response, _))) => return Poll::Ready(Ok(response)),
                        (Err(error), None) => return Poll::Ready(Err(error.into())),
                    };
                    let sending = request.take().map(|request| (generation, request));
                    this.state.set(State::Readying { sending });
                }
                StateProj::Readying { sending } => {
                    let Some(spare) = this.spare else { return Poll::Ready(Err(polled_after_end())) };
                    ready!(spare.inner.poll_ready(cx)).map_err(Into::into)?;
                    let Some((generation, request)) = sending.take() else {
                        return Poll::Ready(Err(polled_after_end()));
                    };
                    let future = spare.inner.call(dressed(request, &spare.name, &generation));
                    this.state.set(State::Called { future, generation });
                }
                StateProj::Called { future, generation } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    let Some(spare) = this.spare else { return Poll::Ready(Ok(response)) };
                    if response.status() != StatusCode::UNAUTHORIZED {
                        spare.credentials.accepted(generation);
                        return Poll::Ready(Ok(response));
                    }
                    let refused = generation.number;
                    let old = Arc::clone(generation);
                    if !mem::take(&mut spare.renewable) || !spare.credentials.can_replay() {
                        return Poll::Ready(Ok(response));
                    }
                    let credentials = spare.credentials.clone();
                    let Some(request) = spare.kept.take() else {
                        // Nothing to replay, but the calls to come should not meet the same refusal.
                        tokio::spawn(async move { credentials.after_refusal(refused).await.map(drop) });
                        return Poll::Ready(Ok(response));
                    };
                    let fetch: Fetching = Box::pin(credentials.after_refusal(refused));
                    this.state.set(State::Fetching { fetch, request: Some(request), refused: Some((response, old)) });
                }
                StateProj::Failed { error } => {
                    return Poll::Ready(Err(error.take().unwrap_or_else(polled_after_end)));
                }
            }
        }
    }
}

fn polled_after_end() -> BoxError {
    "polled after completion".into()
}

impl<S: Service<Request<B>>, B> fmt::Debug for CredentialedFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialedFuture").finish_non_exhaustive()
    }
}
