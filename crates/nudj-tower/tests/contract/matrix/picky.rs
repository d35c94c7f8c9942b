//! The layers over a service that insists on tower's contract, with values that can do nothing but move.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use http::{Request, Response};
use nudj_tower::BoxError;
use tokio_test::task;
use tower::Service;

use super::{Streaming, streaming};

/// How often an exchange has to wait.
const WAITS: usize = 3;

/// Panics when an instance is called that was not polled ready; a clone is not ready.
#[derive(Default)]
pub(super) struct Picky {
    ready: bool,
    seen: Arc<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    calls: AtomicUsize,
    polls: AtomicUsize,
    alive: AtomicUsize,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { ready: false, seen: Arc::clone(&self.seen) }
    }
}

/// A value that can only be moved.
#[derive(Debug)]
pub(super) struct Moved;

#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub(super) struct Failed;

impl<B> Service<Request<B>> for Picky {
    type Response = Response<Moved>;
    type Error = Failed;
    type Future = Exchange;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Exchange {
        assert!(mem::take(&mut self.ready), "an instance was called that was not polled ready");
        self.seen.calls.fetch_add(1, SeqCst);
        self.seen.alive.fetch_add(1, SeqCst);
        Exchange { waits: WAITS, seen: Arc::clone(&self.seen) }
    }
}

pub(super) struct Exchange {
    waits: usize,
    seen: Arc<Seen>,
}

impl Future for Exchange {
    type Output = Result<Response<Moved>, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.seen.polls.fetch_add(1, SeqCst);
        if self.waits == 0 {
            return Poll::Ready(Ok(Response::new(Moved)));
        }
        self.waits -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.seen.alive.fetch_sub(1, SeqCst);
    }
}

fn request() -> Request<Streaming> {
    Request::put("http://localhost/").body(streaming()).unwrap()
}

/// Polls a fresh call up to `most` times, each time only after it was woken; whether it ended.
async fn polled<S, T>(below: Picky, layer: impl Fn(Picky) -> S, most: usize) -> bool
where
    S: Service<Request<Streaming>, Response = Response<T>, Error: Into<BoxError>>,
{
    let mut service = layer(below);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into).unwrap();
    let mut call = task::spawn(service.call(request()));
    for poll in 0..most {
        // What waits for a task of its own, such as the first credential, is woken by it.
        for _ in 0..100 {
            if poll == 0 || call.is_woken() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(poll == 0 || call.is_woken(), "nobody wakes the call after {poll} polls");
        if let Poll::Ready(answer) = call.poll() {
            answer.map_err(Into::into).unwrap();
            return true;
        }
    }
    false
}

pub(super) async fn is_polled_as_often_as_needed<S, T>(layer: impl Fn(Picky) -> S)
where
    S: Service<Request<Streaming>, Response = Response<T>, Error: Into<BoxError>>,
{
    let below = Picky::default();
    let seen = Arc::clone(&below.seen);
    assert!(polled(below, layer, 100).await, "the call never ended");
    assert_eq!((seen.calls.load(SeqCst), seen.polls.load(SeqCst)), (1, WAITS + 1), "calls and polls");
}

pub(super) async fn leaves_nothing_behind<S, T>(layer: impl Fn(Picky) -> S)
where
    S: Service<Request<Streaming>, Response = Response<T>, Error: Into<BoxError>>,
{
    for most in 0..100 {
        let below = Picky::default();
        let seen = Arc::clone(&below.seen);
        let ended = polled(below, &layer, most).await;
        assert_eq!(seen.alive.load(SeqCst), 0, "an exchange goes on after {most} polls");
        if ended {
            assert!(most > WAITS);
            return;
        }
    }
    panic!("the call never ended");
}

pub(super) fn may_go_to_other_threads<S>(mut service: S)
where
    S: Service<Request<Streaming>, Future: Send> + Send + Sync,
{
    fn check<T: Send>(_: &T) {}
    let ready = service.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(ready, Poll::Ready(Ok(()))));
    check(&service.call(request()));
}
