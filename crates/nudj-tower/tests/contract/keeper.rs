//! An attempt's time that is kept by whoever is waited for.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use nudj_tower::{
    BoxError, Rejection,
    deadline::{DeadlineConfig, DeadlineLayer},
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer, Keeper, TimeIsUp},
};
use tokio::time::{Instant, advance, sleep_until};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const TIMED_OUT: Rejection = Rejection::AttemptTimeout { limit: SECOND };

type Answer = Result<&'static str, BoxError>;
type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

fn layer() -> AttemptTimeoutLayer {
    AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: SECOND }).unwrap().one_task()
}

/// An attempt over this, which begins with its first poll.
fn attempt(below: impl FnMut(&mut Context<'_>) -> Poll<Answer> + Send + 'static) -> Boxed {
    let mut below = Some(below);
    let service = service_fn(move |()| poll_fn(below.take().expect("called once")));
    Box::pin(layer().layer(service).oneshot(()))
}

fn is_time_out(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|error| Rejection::find(&**error) == Some(&TIMED_OUT))
}

/// Takes the time in its first poll, and says so in as many polls after that as it is told. Nobody will wake it.
fn keeps(mut polls: usize, armed: &Arc<AtomicUsize>) -> impl FnMut(&mut Context<'_>) -> Poll<Answer> + use<> {
    let (mut keeper, armed) = (Keeper::default(), Arc::clone(armed));
    move |cx| {
        if polls > 0 {
            polls -= 1;
            keeper.waits(cx, |_| {
                armed.fetch_add(1, SeqCst);
                true
            });
        }
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_time_is_told_when_it_ends_and_is_taken_at_its_word() {
    let start = Instant::now();
    let mut keeper = Keeper::default();
    let mut call = task::spawn(attempt(move |cx| {
        keeper.waits(cx, |at| {
            assert_eq!(at, start + SECOND);
            true
        });
        Poll::Pending
    }));
    assert_pending!(call.poll());
    advance(10 * SECOND).await;
    assert!(!call.is_woken(), "the layer has no timer of its own");
}

/// What a transport says when it has ended an exchange for its time.
#[derive(Debug, thiserror::Error)]
#[error("the exchange was ended")]
struct Ended(#[source] TimeIsUp);

#[tokio::test(start_paused = true)]
async fn what_ends_because_the_time_is_up_has_timed_out_and_other_errors_pass_whenever_they_come() {
    let ends: [(fn() -> BoxError, bool); 3] =
        [(|| TimeIsUp.into(), true), (|| Ended(TimeIsUp).into(), true), (|| "the peer is gone".into(), false)];
    for (error, is_the_time) in ends {
        for after in [SECOND / 2, 2 * SECOND] {
            let (start, mut keeper) = (Instant::now(), Keeper::default());
            let mut call = task::spawn(attempt(move |cx| {
                if start.elapsed() >= after {
                    return Poll::Ready(Err(error()));
                }
                keeper.waits(cx, |_| true);
                Poll::Pending
            }));
            assert_pending!(call.poll());
            advance(after).await;
            let answer = assert_ready!(call.poll());
            assert_eq!(is_time_out(&answer), is_the_time, "after {after:?}: {answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_promise_the_layer_keeps_the_time_itself() {
    let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: SECOND }).unwrap();
    let mut keeper = Keeper::default();
    let mut below = Some(poll_fn(move |cx| {
        keeper.waits(cx, |_| panic!("nothing is on offer"));
        Poll::<Answer>::Pending
    }));
    let start = Instant::now();
    let answer = layer.layer(service_fn(move |()| below.take().expect("called once"))).oneshot(()).await;
    assert!(is_time_out(&answer));
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_given_however_late() {
    let (start, mut keeper) = (Instant::now(), Keeper::default());
    let mut call = task::spawn(attempt(move |cx| {
        if start.elapsed() > SECOND {
            return Poll::Ready(Ok("late"));
        }
        keeper.waits(cx, |_| true);
        Poll::Pending
    }));
    assert_pending!(call.poll());
    advance(2 * SECOND).await;
    assert_eq!(assert_ready!(call.poll()).unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn the_layer_keeps_the_time_itself_from_the_poll_on_in_which_nobody_says_that_he_does() {
    let armed = Arc::default();
    let mut call = task::spawn(attempt(keeps(2, &armed)));
    assert_pending!(call.poll());
    advance(SECOND / 2).await;
    assert_pending!(call.poll());
    assert_eq!(armed.load(SeqCst), 1, "it is armed once");
    // The third poll, in which it says nothing.
    assert_pending!(call.poll());
    advance(SECOND / 2).await;
    assert!(call.is_woken());
    assert!(is_time_out(&assert_ready!(call.poll())));
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_more_after_the_time_is_ended_at_once() {
    let armed = Arc::default();
    let mut call = task::spawn(attempt(keeps(1, &armed)));
    assert_pending!(call.poll());
    advance(3 * SECOND).await;
    assert!(is_time_out(&assert_ready!(call.poll())));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_promise_it_leaves_the_time_to_the_layer() {
    let mut keeper = Keeper::default();
    let answer = attempt(move |cx| {
        keeper.waits(cx, |_| false);
        Poll::Pending
    });
    let start = Instant::now();
    assert!(is_time_out(&answer.await));
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_on_offer_to_other_tasks_to_a_second_one_in_later_polls_or_without_a_layer() {
    fn refuses(keeper: &mut Keeper, cx: &Context<'_>, when: &str) {
        keeper.waits(cx, |_| panic!("armed {when}"));
    }
    refuses(&mut Keeper::default(), &Context::from_waker(Waker::noop()), "without a layer");
    let (mut first, mut second, mut late) = (Keeper::default(), Keeper::default(), false);
    let mut call = task::spawn(attempt(move |cx| {
        if late {
            refuses(&mut Keeper::default(), cx, "in a later poll");
            return Poll::Pending;
        }
        late = true;
        refuses(&mut second, &Context::from_waker(Waker::noop()), "for another task");
        first.waits(cx, |_| true);
        refuses(&mut second, cx, "for a second one");
        Poll::Pending
    }));
    assert_pending!(call.poll());
    assert_pending!(call.poll());
    refuses(&mut Keeper::default(), &Context::from_waker(Waker::noop()), "after a poll");
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_ends_the_offer() {
    let mut call = Box::pin(attempt(|_| panic!("below")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx))).is_err());
    Keeper::default().waits(&cx, |_| panic!("what was offered to a task that panicked is on offer still"));
}

/// Waits for what keeps its time as a connection does: somebody wakes the task when it is over.
fn woken_in_time() -> Boxed {
    let mut keeper = Keeper::default();
    attempt(move |cx| {
        let waker = cx.waker().clone();
        keeper.waits(cx, |at| {
            tokio::spawn(async move {
                sleep_until(at).await;
                waker.wake();
            });
            true
        });
        Poll::Pending
    })
}

#[tokio::test(start_paused = true)]
async fn of_two_layers_the_inner_ones_time_is_kept_and_the_outer_one_keeps_its_own() {
    for (outer, first) in [(2 * SECOND, SECOND), (SECOND / 2, SECOND / 2)] {
        let start = Instant::now();
        let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: outer }).unwrap().one_task();
        let error = layer.layer(service_fn(|()| woken_in_time())).oneshot(()).await.unwrap_err();
        assert_eq!(Rejection::find(&*error), Some(&Rejection::AttemptTimeout { limit: first }));
        assert_eq!(start.elapsed(), first);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_below_offers_does_not_end_the_offer_above_it() {
    let armed = Arc::<AtomicUsize>::default();
    let (count, mut keeper) = (Arc::clone(&armed), Keeper::default());
    let mut other = Some(attempt(|_| Poll::Pending));
    let start = Instant::now();
    let mut call = task::spawn(attempt(move |cx| {
        if let Some(mut other) = other.take() {
            assert!(other.as_mut().poll(cx).is_pending());
        }
        keeper.waits(cx, |at| {
            assert_eq!(at, start + SECOND);
            count.fetch_add(1, SeqCst);
            true
        });
        Poll::Pending
    }));
    assert_pending!(call.poll());
    assert_eq!(armed.load(SeqCst), 1);
    advance(10 * SECOND).await;
    assert!(!call.is_woken(), "and the layer is told that it was taken");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_above_needs_no_timer_either_and_has_one_when_the_attempt_is_let_go() {
    let deadline = || DeadlineLayer::for_any(DeadlineConfig { total: 2 * SECOND }).unwrap().one_task();
    let start = Instant::now();
    let answer = deadline().layer(service_fn(|()| woken_in_time())).oneshot(()).await;
    assert!(is_time_out(&answer));
    assert_eq!(start.elapsed(), SECOND);

    let armed = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&armed);
    let kept = service_fn(move |()| attempt(keeps(usize::MAX, &counted)));
    let mut call = task::spawn(deadline().layer(kept).oneshot(()));
    assert_pending!(call.poll());
    advance(10 * SECOND).await;
    assert!(!call.is_woken() && armed.load(SeqCst) == 1, "both rely on who keeps the time");

    let let_go = service_fn(|()| async {
        let mut attempt = Some(attempt(keeps(usize::MAX, &Arc::default())));
        poll_fn(move |cx| {
            if let Some(mut attempt) = attempt.take() {
                assert!(attempt.as_mut().poll(cx).is_pending());
            }
            Poll::<Answer>::Pending
        })
        .await
    });
    let start = Instant::now();
    let error = deadline().layer(let_go).oneshot(()).await.unwrap_err();
    assert!(matches!(Rejection::find(&*error), Some(Rejection::DeadlineExceeded { .. })));
    assert_eq!(start.elapsed(), 2 * SECOND);
}
