//! Quota that was not used goes to the next.

use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dropped_waiters_turn_goes_to_the_next_who_is_woken() {
    for algorithm in both() {
        for polled in [false, true] {
            let layer = RateLimitLayer::new(&RateLimitConfig { algorithm, ..config(1) }).unwrap().for_any();
            let mut service = layer.layer(Log::default());
            service.call(0).await.unwrap();
            let (mut head, mut next) = (task::spawn(service.call(1)), task::spawn(service.call(2)));
            assert_pending!(head.poll());
            assert_pending!(next.poll());
            advance(SECOND).await;
            if polled {
                // The timer rang and the first was let through; it goes before it looks.
                assert!(head.is_woken());
            }
            drop(head);
            assert!(next.is_woken(), "{algorithm:?}");
            assert_eq!(assert_ready!(next.poll()).unwrap(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_let_through_and_never_looked_gives_its_quota_to_the_next() {
    let layer = RateLimitLayer::new(&config(2)).unwrap().for_any();
    let mut service = layer.layer(Log::default());
    service.call(0).await.unwrap();
    service.call(0).await.unwrap();
    let mut waiting: Vec<_> = (1..4).map(|call| task::spawn(service.call(call))).collect();
    waiting.iter_mut().for_each(|call| assert_pending!(call.poll()));
    advance(SECOND).await;
    assert_eq!(assert_ready!(waiting[0].poll()).unwrap(), 1);
    assert!(waiting[1].is_woken(), "let through by the head");
    assert_eq!(layer.handle().queue_depth(), 1);
    drop(waiting.remove(1));
    assert!(waiting[1].is_woken());
    assert_eq!(assert_ready!(waiting[1].poll()).unwrap(), 3);
    assert_eq!(layer.handle().counts().given_back, 1);
}

/// Ready when told, and counts its clones' calls.
#[derive(Clone)]
struct Gated(Arc<AtomicBool>, Log);

impl Service<u32> for Gated {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        cx.waker().wake_by_ref();
        if self.0.load(Ordering::Relaxed) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, call: u32) -> Self::Future {
        drop(self.1.call(call));
        ready(Ok(call))
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_at_any_moment_gives_back_what_was_not_sent() {
    for algorithm in both() {
        let open = Arc::new(AtomicBool::new(false));
        let layer = RateLimitLayer::new(&RateLimitConfig { algorithm, ..config(2) }).unwrap().for_any();
        let (handle, log) = (layer.handle(), Log::default());
        let mut service = layer.layer(Gated(Arc::clone(&open), log.clone()));
        drop(service.call(1));
        assert_eq!(handle.available(), 2, "not polled");
        let mut unready = task::spawn(service.call(2));
        assert_pending!(unready.poll());
        assert_eq!(handle.available(), 1);
        drop(unready);
        assert_eq!(handle.available(), 2, "the inner service was not ready");
        let held: Vec<_> = (0..2).map(|call| service.call(call)).collect();
        let mut waits = task::spawn(service.call(3));
        assert_pending!(waits.poll());
        drop(held);
        assert!(waits.is_woken(), "given back, it is the waiter's");
        assert_pending!(waits.poll());
        open.store(true, Ordering::Relaxed);
        assert_eq!(assert_ready!(waits.poll()).unwrap(), 3);
        assert_eq!(log.order(), [3]);
        assert_eq!((handle.available(), handle.queue_depth()), (1, 0));

        let mut hangs = layer.layer(service_fn(|_: u32| pending::<Result<u32, BoxError>>()));
        drop(hangs.call(4));
        assert_eq!(handle.available(), 0, "that one was on its way");
    }
}

#[tokio::test(start_paused = true)]
async fn quota_of_a_call_that_was_refused_below_is_given_back() {
    let layer = RateLimitLayer::new(&config(1)).unwrap().for_any();
    let handle = layer.handle();
    let open = Rejection::CircuitOpen { endpoint: None, retry_after: None };
    for (error, left) in [
        (open.clone(), 1),
        (Rejection::DeadlineExceeded { total: SECOND, sent: false }, 1),
        (Rejection::AttemptTimeout { limit: SECOND }, 0),
    ] {
        let mut service = layer.layer(service_fn(move |_: u32| ready(Err::<(), BoxError>(error.clone().into()))));
        service.call(0).await.unwrap_err();
        assert_eq!(handle.available(), left);
    }
    // One who waits gets it, and is woken for it.
    let mut waits = task::spawn(layer.layer(Log::default()).call(1));
    assert_pending!(waits.poll());
    advance(SECOND).await;
    drop(waits);
    let (answer, answered) = tokio::sync::oneshot::channel::<()>();
    let mut answered = Some(answered);
    let mut service = layer.layer(
        service_fn(move |_: u32| {
            let (answered, open) = (answered.take(), open.clone());
            async move {
                answered.unwrap().await.unwrap();
                Err::<u32, BoxError>(open.into())
            }
        })
        .clone_once(),
    );
    let mut refused = task::spawn(service.call(2));
    assert_pending!(refused.poll());
    let mut waits = task::spawn(layer.layer(Log::default()).call(3));
    assert_pending!(waits.poll());
    answer.send(()).unwrap();
    assert!(assert_ready!(refused.poll()).is_err());
    assert!(waits.is_woken());
    assert_eq!(assert_ready!(waits.poll()).unwrap(), 3);
}

/// A service that is cloned by type only: the layer asks for `Clone`, the test calls once.
#[derive(Debug)]
struct CloneOnce<S>(Arc<Mutex<S>>);

impl<S> Clone for CloneOnce<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

trait CloneOnceExt: Sized {
    fn clone_once(self) -> CloneOnce<Self> {
        CloneOnce(Arc::new(Mutex::new(self)))
    }
}

impl<S> CloneOnceExt for S {}

impl<S: Service<R>, R> Service<R> for CloneOnce<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.lock().poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.lock().call(request)
    }
}
