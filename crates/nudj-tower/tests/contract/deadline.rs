use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use futures_util::future::{pending, poll_fn};
use http::{Request, Response};
use nudj_tower::{
    BoxError, CallContext, Rejection,
    classify::Any,
    deadline::{DeadlineConfig, DeadlineLayer},
};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn layer(total: Duration) -> DeadlineLayer {
    DeadlineLayer::new(DeadlineConfig { total }).unwrap()
}

fn for_any(total: Duration) -> DeadlineLayer<Any> {
    DeadlineLayer::for_any(DeadlineConfig { total }).unwrap()
}

/// Counts the futures that live, and never answers.
fn hung(alive: &Arc<AtomicUsize>) -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone + use<> {
    let alive = Arc::clone(alive);
    service_fn(move |()| {
        alive.fetch_add(1, SeqCst);
        let alive = Arc::clone(&alive);
        async move {
            let _guard = scopeguard(move || _ = alive.fetch_sub(1, SeqCst));
            pending::<Result<(), BoxError>>().await
        }
    })
}

fn scopeguard(end: impl FnOnce()) -> impl Drop {
    struct Guard<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            if let Some(end) = self.0.take() {
                end();
            }
        }
    }
    Guard(Some(end))
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_its_work_is_dropped() {
    let alive = Arc::default();
    let started = Instant::now();
    let error = for_any(SECOND).layer(hung(&alive)).oneshot(()).await.unwrap_err();
    assert_eq!(Rejection::find(&*error), Some(&Rejection::DeadlineExceeded { total: SECOND, sent: true }));
    assert_eq!(started.elapsed(), SECOND);
    assert_eq!(alive.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_at_the_deadline_is_given() {
    let slow = service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>("late")
    });
    assert_eq!(for_any(SECOND).layer(slow).oneshot(()).await.unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn work_that_uses_up_the_budget_of_its_task_still_ends() {
    let greedy = service_fn(|()| async {
        loop {
            tokio::task::coop::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        Ok::<(), BoxError>(())
    });
    let mut call = tokio::spawn(for_any(SECOND).layer(greedy).oneshot(()));
    tokio::select! {
        biased;
        _ = &mut call => panic!("not before its time"),
        () = tokio::task::yield_now() => {}
    }
    advance(SECOND).await;
    assert!(call.await.unwrap().is_err());
}

/// Where an attempt's timer wakes the call before its deadline, the deadline has none of its own. Then it must not rely on one that is
/// gone, that wakes another task, or that comes later.
mod with_an_attempts_timer_within {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use nudj_tower::timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer};

    use super::*;

    type Boxed = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

    /// A call that never ends, but by its attempt's timer.
    fn attempt(limit: Duration) -> Boxed {
        let hung = service_fn(|()| pending::<Result<(), BoxError>>());
        Box::pin(AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: limit }).unwrap().layer(hung).oneshot(()))
    }

    async fn ends_at_its_deadline(inner: impl FnOnce() -> Boxed + Clone + Send + 'static) {
        let inner = service_fn(move |()| inner.clone()());
        for layer in [for_any(2 * SECOND), for_any(2 * SECOND).one_task()] {
            let started = Instant::now();
            let call = layer.layer(inner.clone()).oneshot(());
            let ended = tokio::time::timeout(100 * SECOND, call).await.expect("it ends");
            assert!(ended.is_err());
            assert_eq!(started.elapsed(), 2 * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_may_be_polled_and_then_go_on_in_another_task() {
        let inner = service_fn(|()| {
            let mut endless: Boxed = Box::pin(async {
                loop {
                    let _ = attempt(SECOND).await;
                }
            });
            async move {
                poll_fn(|cx| Poll::Ready(endless.as_mut().poll(cx).is_pending())).await;
                tokio::spawn(endless).await.map_err(BoxError::from)?
            }
        });
        let started = Instant::now();
        let call = for_any(2 * SECOND).layer(inner).oneshot(());
        let error: BoxError = tokio::time::timeout(100 * SECOND, call).await.expect("it ends").unwrap_err();
        assert!(matches!(Rejection::find(&*error), Some(Rejection::DeadlineExceeded { .. })));
        assert_eq!(started.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_attempt_ends_first_when_its_time_is_shorter() {
        let started = Instant::now();
        let call = for_any(2 * SECOND).layer(service_fn(|()| attempt(SECOND))).oneshot(());
        let error = call.await.unwrap_err();
        assert_eq!(Rejection::find(&*error), Some(&Rejection::AttemptTimeout { limit: SECOND }));
        assert_eq!(started.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_timer_does_not_do() {
        ends_at_its_deadline(|| attempt(3 * SECOND)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_after_attempt_ends_too() {
        ends_at_its_deadline(|| {
            Box::pin(async {
                loop {
                    let _ = attempt(SECOND * 2 / 3).await;
                }
            })
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_attempt_may_have_no_timer() {
        ends_at_its_deadline(|| {
            Box::pin(async {
                let _ = attempt(SECOND).await;
                pending().await
            })
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_may_be_polled_and_let_go_at_once() {
        ends_at_its_deadline(|| {
            Box::pin(async {
                let mut attempt = Some(attempt(SECOND));
                poll_fn(move |cx| {
                    if let Some(mut attempt) = attempt.take() {
                        assert!(attempt.as_mut().poll(cx).is_pending());
                    }
                    Poll::Pending
                })
                .await
            })
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_may_be_polled_for_somebody_else_and_kept() {
        ends_at_its_deadline(|| {
            let mut kept = attempt(SECOND);
            Box::pin(poll_fn(move |_| kept.as_mut().poll(&mut Context::from_waker(Waker::noop()))))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_may_run_in_a_task_that_hangs_or_is_one_of_several() {
        ends_at_its_deadline(|| {
            Box::pin(async {
                let _task = tokio::spawn(attempt(SECOND));
                pending().await
            })
        })
        .await;
        ends_at_its_deadline(|| {
            Box::pin(async {
                futures_util::future::join_all([attempt(SECOND), Box::pin(pending())]).await.swap_remove(0)
            })
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_stands_in_the_context_that_it_makes() {
    let echo = service_fn(|request: Request<()>| async move {
        Ok::<_, BoxError>(Response::new(CallContext::find(request.extensions()).and_then(CallContext::deadline)))
    });
    let now = Instant::now();
    let seen = layer(SECOND).layer(echo).oneshot(Request::new(())).await.unwrap();
    assert_eq!(seen.into_body(), Some(now + SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_earlier_deadline_holds_and_a_later_one_does_not() {
    let slow = service_fn(|_: Request<()>| pending::<Result<Response<()>, BoxError>>());
    for (brought, expected) in [(SECOND / 2, SECOND / 2), (3 * SECOND, SECOND)] {
        let mut request = Request::new(());
        let started = Instant::now();
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(started + brought);
        let error = layer(SECOND).layer(slow).oneshot(request).await.unwrap_err();
        assert_eq!(started.elapsed(), expected);
        assert!(
            matches!(Rejection::find(&*error), Some(Rejection::DeadlineExceeded { total, .. }) if *total == expected)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_too_late_is_not_made() {
    let calls = AtomicUsize::new(0);
    let count = service_fn(|_: Request<()>| {
        calls.fetch_add(1, SeqCst);
        async { Ok::<_, BoxError>(Response::new(())) }
    });
    let mut request = Request::new(());
    CallContext::get_or_insert(request.extensions_mut()).limit_deadline(Instant::now());
    let error = layer(SECOND).layer(count).oneshot(request).await.unwrap_err();
    assert!(!Rejection::find(&*error).unwrap().was_sent());
    assert_eq!(calls.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_reported_unsent_only_where_tries_are_counted_and_none_was() {
    let tries = |count: u32| {
        service_fn(move |request: Request<()>| {
            let context = CallContext::get_or_insert(&mut request.extensions().clone());
            (0..count).for_each(|_| context.count_try());
            pending::<Result<Response<()>, BoxError>>()
        })
    };
    for (layer, count, sent) in
        [(layer(SECOND), 0, true), (layer(SECOND).tries_counted(), 0, false), (layer(SECOND).tries_counted(), 1, true)]
    {
        let error = layer.layer(tries(count)).oneshot(Request::new(())).await.unwrap_err();
        assert_eq!(Rejection::find(&*error), Some(&Rejection::DeadlineExceeded { total: SECOND, sent }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_time_never_comes() {
    let alive = Arc::default();
    let mut call = task::spawn(for_any(Duration::MAX).layer(hung(&alive)).oneshot(()));
    assert_pending!(call.poll());
    advance(Duration::from_secs(1 << 30)).await;
    assert_pending!(call.poll());
}

#[tokio::test(start_paused = true)]
async fn errors_from_below_pass_unchanged() {
    let broken = service_fn(|()| async { Err::<(), _>(std::io::Error::other("broken")) });
    let error = for_any(SECOND).layer(broken).oneshot(()).await.unwrap_err();
    assert!(error.is::<std::io::Error>());
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_made_ready_is_called_and_a_dropped_call_gives_its_permit_back() {
    let alive = Arc::default();
    let mut service = for_any(SECOND).layer(ConcurrencyLimit::new(hung(&alive), 1));
    for _ in 0..3 {
        let mut call = task::spawn(service.ready().await.unwrap().call(()));
        assert_pending!(call.poll());
        assert_eq!(alive.load(SeqCst), 1);
        let mut other = service.clone();
        let mut waits = task::spawn(poll_fn(move |cx| Service::<()>::poll_ready(&mut other, cx)));
        assert_pending!(waits.poll());
        drop(call);
        assert!(waits.is_woken(), "whoever waits for the permit is woken");
        assert_eq!(alive.load(SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn holds_over_a_buffer() {
    let alive = Arc::default();
    let service = for_any(SECOND).layer(Buffer::new(ConcurrencyLimit::new(hung(&alive), 1), 4));
    for _ in 0..3 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert!(Rejection::find(&*error).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_is_polled_only_when_something_happened() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counting = service_fn(|()| {
        let polls = Arc::clone(&polls);
        poll_fn(move |_| {
            polls.fetch_add(1, SeqCst);
            Poll::<Result<(), BoxError>>::Pending
        })
    });
    for_any(SECOND).layer(counting).oneshot(()).await.unwrap_err();
    assert_eq!(polls.load(SeqCst), 2, "once at first, once when the time was up");
}

#[tokio::test(start_paused = true)]
async fn nothing_needs_clone_and_send_and_sync_are_kept() {
    struct NoClone;
    fn check<T: Send + Sync>(_: &T) {}
    let mut service = for_any(SECOND).layer(service_fn(|input: NoClone| async move { Ok::<_, BoxError>(input) }));
    check(&service);
    let call = service.call(NoClone);
    check(&call);
    assert!(call.await.is_ok());
}

#[test]
fn a_total_of_zero_is_refused_by_name() {
    let error = DeadlineLayer::new(DeadlineConfig { total: Duration::ZERO }).unwrap_err();
    assert_eq!(error.field(), "total");
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_is_answered_at_once() {
    let mut service = for_any(SECOND).layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let mut call = task::spawn(service.call(()));
    assert!(assert_ready!(call.poll()).is_ok());
}
