use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{Request, Response};
use nudj_tower::{
    Availability, Available, BoxError, CallContext, Rejection,
    observe::{Event, Observers},
    rate_limit::{Algorithm, Quota, RateLimitConfig, RateLimitLayer},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, buffer::BufferLayer, limit::ConcurrencyLimitLayer, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn config(max_requests: u32) -> RateLimitConfig {
    RateLimitConfig { max_requests, ..RateLimitConfig::default() }
}

fn both() -> [Algorithm; 2] {
    [Algorithm::SlidingWindow, Algorithm::Gcra]
}

/// Answers at once, and notes when it was called with what.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(u32, Instant)>>>);

impl Log {
    fn order(&self) -> Vec<u32> {
        self.0.lock().iter().map(|(call, _)| *call).collect()
    }
}

impl Service<u32> for Log {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: u32) -> Self::Future {
        self.0.lock().push((call, Instant::now()));
        ready(Ok(call))
    }
}

/// Counts how often its future is polled.
struct Polled<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.as_mut().poll(cx)
    }
}

fn rejection(error: &BoxError) -> Rejection {
    Rejection::find(&**error).expect("one of ours").clone()
}

fn refused<T: std::fmt::Debug>(result: Result<T, BoxError>) -> Rejection {
    rejection(&result.unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn calls_pass_in_the_order_they_came_as_quota_comes_free() {
    for algorithm in both() {
        let log = Log::default();
        let layer = RateLimitLayer::new(&RateLimitConfig { algorithm, ..config(3) }).unwrap().for_any();
        let mut service = layer.layer(log.clone());
        let start = Instant::now();
        let mut calls: FuturesUnordered<_> = (0..20).map(|call| service.call(call)).collect();
        while calls.next().await.is_some() {}
        assert_eq!(log.order(), (0..20).collect::<Vec<_>>(), "{algorithm:?}");
        if algorithm == Algorithm::SlidingWindow {
            let seconds: Vec<_> = log.0.lock().iter().map(|(_, at)| (*at - start).as_millis() / 1000).collect();
            assert_eq!(seconds, (0..20).map(|call| call / 3).collect::<Vec<_>>());
        }
        assert_eq!(layer.handle().counts().waited, 17);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_wait_cost_a_few_polls_each_and_one_timer() {
    let waiting = 10_000;
    let config = RateLimitConfig { max_wait: Duration::from_secs(10_000), max_queue: waiting, ..config(10) };
    let mut service = RateLimitLayer::new(&config).unwrap().for_any().layer(Log::default());
    let polls = Arc::new(AtomicUsize::new(0));
    let mut calls: FuturesUnordered<_> =
        (0..waiting as u32 + 10).map(|n| Polled(Box::pin(service.call(n)), Arc::clone(&polls))).collect();
    for _ in 0..10 {
        calls.next().await.unwrap().unwrap();
    }
    assert_pending!(task::spawn(calls.next()).poll());
    let before = polls.load(Ordering::Relaxed);
    assert!(before <= waiting + 20, "each was polled once: {before}");
    // Nobody's turn: nobody is polled.
    for _ in 0..9 {
        advance(SECOND / 10).await;
        assert_pending!(task::spawn(calls.next()).poll());
    }
    assert_eq!(polls.load(Ordering::Relaxed), before);
    let mut last = None;
    while let Some(call) = calls.next().await {
        let call = call.unwrap();
        assert!(last < Some(call));
        last = Some(call);
    }
    let each = (polls.load(Ordering::Relaxed) - before) as f64 / waiting as f64;
    assert!(each < 1.5, "one poll to pass, and a tenth of them is head for a while: {each}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_is_refused_without_sleeping() {
    let config = RateLimitConfig { max_wait: SECOND / 2, max_queue: 2, ..config(1) };
    let layer = RateLimitLayer::new(&config).unwrap().for_any();
    let (mut service, start) = (layer.layer(Log::default()), Instant::now());
    service.call(1).await.unwrap();
    assert_eq!(refused(service.call(2).await), Rejection::RateLimited { retry_after: Some(SECOND) });
    advance(SECOND * 3 / 5).await;
    let mut waits = task::spawn(service.call(3));
    assert_pending!(waits.poll());
    assert_eq!(refused(service.call(4).await), Rejection::RateLimited { retry_after: Some(SECOND * 7 / 5) });
    assert_eq!(start.elapsed(), SECOND * 3 / 5);
    assert_eq!(layer.handle().queue_depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_the_time_to_come_again() {
    let layer = RateLimitLayer::new(&RateLimitConfig { max_queue: 2, ..config(1) }).unwrap().for_any();
    let mut service = layer.layer(Log::default());
    service.call(0).await.unwrap();
    let mut waiting: Vec<_> = (1..3).map(|call| task::spawn(service.call(call))).collect();
    waiting.iter_mut().for_each(|call| assert_pending!(call.poll()));
    assert_eq!(refused(service.call(3).await), Rejection::QueueFull { limit: 2, retry_after: Some(3 * SECOND) });
    drop(waiting.pop());
    assert_pending!(task::spawn(service.call(4)).poll());
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_calls_deadline_is_refused_at_once() {
    let layer = RateLimitLayer::new(&config(1)).unwrap();
    let mut service = layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    service.call(Request::new(())).await.unwrap();
    let within = |time: Duration| {
        let mut request = Request::new(());
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(Instant::now() + time);
        request
    };
    let limited = Rejection::RateLimited { retry_after: Some(SECOND) };
    assert_eq!(refused(service.call(within(SECOND - Duration::from_nanos(1))).await), limited);
    assert_eq!(refused(service.call(within(Duration::ZERO)).await), limited);
    assert_pending!(task::spawn(service.call(within(SECOND))).poll());
}

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

#[derive(Default)]
struct Endpoints {
    away: AtomicBool,
    asked: AtomicUsize,
}

impl Available for Endpoints {
    fn availability(&self) -> Availability {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.away.load(Ordering::Relaxed) {
            true => Availability::Unavailable { retry_after: Some(SECOND) },
            false => Availability::Available,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_no_endpoint_is_there_nobody_waits_or_pays() {
    let endpoints = Arc::new(Endpoints::default());
    let asks = Arc::clone(&endpoints);
    let layer = RateLimitLayer::new(&config(1)).unwrap().for_any().asks(asks);
    let (mut service, handle) = (layer.layer(Log::default()), layer.handle());
    let open = Rejection::CircuitOpen { endpoint: None, retry_after: Some(SECOND) };
    endpoints.away.store(true, Ordering::Relaxed);
    assert_eq!(refused(service.call(0).await), open);
    assert_eq!((handle.available(), handle.counts().refused), (1, 1));

    endpoints.away.store(false, Ordering::Relaxed);
    service.call(1).await.unwrap();
    let mut waiting: Vec<_> = (2..6).map(|call| task::spawn(service.call(call))).collect();
    waiting.iter_mut().for_each(|call| assert_pending!(call.poll()));
    endpoints.away.store(true, Ordering::Relaxed);
    advance(SECOND).await;
    for call in &mut waiting {
        assert!(call.is_woken(), "each asks again when it is the head");
        assert_eq!(refused(assert_ready!(call.poll())), open);
    }
    assert_eq!((handle.available(), handle.queue_depth()), (1, 0));

    // Who becomes the head asks, long before its turn.
    endpoints.away.store(false, Ordering::Relaxed);
    service.call(6).await.unwrap();
    let (mut head, mut next) = (task::spawn(service.call(7)), task::spawn(service.call(8)));
    assert_pending!(head.poll());
    assert_pending!(next.poll());
    endpoints.away.store(true, Ordering::Relaxed);
    drop(head);
    assert!(next.is_woken());
    assert_eq!(refused(assert_ready!(next.poll())), open);
}

/// Answers with the given status and headers.
fn answer(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future = Ready<Result<Response<()>, Infallible>>>
+ Clone {
    service_fn(move |_: Request<()>| {
        let mut response = Response::new(());
        *response.status_mut() = status.try_into().unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        ready(Ok(response))
    })
}

#[tokio::test(start_paused = true)]
async fn pauses_everybody_for_as_long_as_the_server_asks_up_to_the_cap() {
    type Headers = &'static [(&'static str, &'static str)];
    let cases: [(u16, Headers, u64); 13] = [
        (200, &[], 0),
        (429, &[], 0),
        (429, &[("retry-after", "7")], 7),
        (429, &[("retry-after", "86400")], 60),
        (429, &[("retry-after", "18446744073709551616")], 60),
        (429, &[("retry-after", "3"), ("ratelimit", "\"a\";r=0;t=9")], 9),
        (429, &[("x-ratelimit-reset", "5")], 5),
        (429, &[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "5")], 0),
        (503, &[("retry-after", "7")], 0),
        (200, &[("ratelimit", "\"a\";r=0;t=4")], 4),
        (200, &[("ratelimit", "\"a\";r=1;t=4")], 0),
        (200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225608")], 8),
        (200, &[("ratelimit-remaining", "0")], 0),
    ];
    for (status, headers, seconds) in cases {
        let paused = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&paused);
        let layer = RateLimitLayer::new(&config(100))
            .unwrap()
            .wall_clock(|| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
            .observers(Observers::new(move |event: &Event<'_>| {
                if let Event::LimiterPaused { pause } = event {
                    heard.lock().push(*pause);
                }
            }));
        let start = Instant::now();
        let mut others = layer.clone().layer(answer(200, &[]));
        let mut service = layer.layer(answer(status, headers));
        service.call(Request::new(())).await.unwrap();
        let expected = Duration::from_secs(seconds);
        let until = (seconds > 0).then(|| start + expected);
        assert_eq!(layer.handle().paused_until(), until, "{status} {headers:?}");
        assert_eq!(*paused.lock(), until.iter().map(|_| expected).collect::<Vec<_>>());
        if seconds > 30 {
            let limited = Rejection::RateLimited { retry_after: Some(expected) };
            assert_eq!(refused(others.call(Request::new(())).await), limited, "longer than max_wait");
        } else {
            others.call(Request::new(())).await.unwrap();
            assert_eq!(start.elapsed(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_over_in_time_and_those_who_cannot_wait_for_it_hear_at_once() {
    let layer = RateLimitLayer::new(&config(1)).unwrap();
    let (mut service, handle, start) = (layer.layer(answer(200, &[])), layer.handle(), Instant::now());
    service.call(Request::new(())).await.unwrap();
    let mut patient = task::spawn(service.call(Request::new(())));
    let mut request = Request::new(());
    CallContext::get_or_insert(request.extensions_mut()).limit_deadline(start + 3 * SECOND);
    let mut hurried = task::spawn(service.call(request));
    assert_pending!(patient.poll());
    assert_pending!(hurried.poll());
    handle.pause(10 * SECOND);
    assert!(hurried.is_woken() && !patient.is_woken());
    assert_eq!(refused(assert_ready!(hurried.poll())), Rejection::RateLimited { retry_after: Some(11 * SECOND) });
    advance(9 * SECOND).await;
    assert_pending!(patient.poll());
    // A task that used up its budget is woken when the runtime gets to it.
    tokio::task::yield_now().await;
    assert!(!patient.is_woken(), "its timer is set anew, it does not spin");
    handle.resume();
    assert!(patient.is_woken());
    assert!(assert_ready!(patient.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_quota_can_be_changed_while_calls_wait() {
    for algorithm in both() {
        let layer =
            RateLimitLayer::new(&RateLimitConfig { algorithm, window: 10 * SECOND, ..config(1) }).unwrap().for_any();
        let (mut service, handle) = (layer.layer(Log::default()), layer.handle());
        service.call(0).await.unwrap();
        let mut waiting: Vec<_> = (1..4).map(|call| task::spawn(service.call(call))).collect();
        waiting.iter_mut().for_each(|call| assert_pending!(call.poll()));
        handle.set_quota(Quota { max_requests: 3, window: 10 * SECOND }).unwrap();
        assert!(waiting[0].is_woken() && waiting[1].is_woken());
        assert_eq!(assert_ready!(waiting[0].poll()).unwrap(), 1);
        assert_eq!(assert_ready!(waiting[1].poll()).unwrap(), 2);
        assert_pending!(waiting[2].poll());
        handle.set_quota(Quota { max_requests: 1, window: Duration::from_secs(3600) }).unwrap();
        assert!(waiting[2].is_woken(), "an hour is longer than it may wait");
        assert!(matches!(refused(assert_ready!(waiting[2].poll())), Rejection::RateLimited { .. }));
        let error = handle.set_quota(Quota { max_requests: 0, window: SECOND }).unwrap_err();
        assert_eq!(error.field(), "max_requests");
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_its_quota_and_fresh_ones_do_not() {
    let layer = RateLimitLayer::new(&config(2)).unwrap().for_any();
    layer.layer(Log::default()).call(1).await.unwrap();
    layer.clone().layer(Log::default()).clone().call(2).await.unwrap();
    assert_eq!(layer.handle().available(), 0);
    assert_eq!(layer.fresh().handle().available(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_quota_of_its_own() {
    let layer = RateLimitLayer::keyed(&config(1), |call: &u32| call % 2).unwrap().for_any();
    let (mut service, handle, start) = (layer.layer(Log::default()), layer.handle(), Instant::now());
    service.call(0).await.unwrap();
    layer.layer(Log::default()).call(1).await.unwrap();
    assert_eq!((handle.keys(), start.elapsed()), (2, Duration::ZERO));
    let mut waits = task::spawn(service.call(2));
    assert_pending!(waits.poll());
    assert_eq!(
        (handle.queue_depth(), handle.of(&0).unwrap().queue_depth(), handle.of(&1).unwrap().available()),
        (1, 1, 0)
    );
    handle.of(&1).unwrap().pause(5 * SECOND);
    advance(SECOND).await;
    assert_eq!(assert_ready!(waits.poll()).unwrap(), 2);
    assert!(handle.of(&1).unwrap().paused_until().is_some(), "a pause is a key's own");
    handle.set_quota(Quota { max_requests: 5, window: SECOND }).unwrap();
    assert_eq!(handle.of(&0).unwrap().available(), 4);
    service.call(0).await.unwrap();
    assert_eq!(layer.fresh().handle().keys(), 0);
    drop(waits);
    advance(10 * SECOND).await;
    assert_eq!(handle.evict_idle(), 2);
    assert_eq!((handle.keys(), handle.of(&0).is_none()), (0, true));
    service.call(0).await.unwrap();
    assert_eq!(handle.of(&0).unwrap().available(), 4, "new keys have the new quota");
}

#[tokio::test(start_paused = true)]
async fn holds_no_slot_of_an_inner_limit_while_it_waits() {
    let layer = RateLimitLayer::new(&config(1)).unwrap().for_any();
    let inner = ConcurrencyLimitLayer::new(1).layer(Log::default());
    let mut service = layer.layer(inner.clone());
    service.call(0).await.unwrap();
    let mut waits = task::spawn(service.call(1));
    assert_pending!(waits.poll());
    inner.oneshot(9).await.unwrap();
    advance(SECOND).await;
    assert_eq!(assert_ready!(waits.poll()).unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_no_place_in_an_inner_limits_queue() {
    let layer = RateLimitLayer::new(&config(9)).unwrap().for_any();
    let inner = ConcurrencyLimitLayer::new(1).layer(service_fn(|_: u32| pending::<Result<u32, BoxError>>()));
    let mut service = layer.layer(inner.clone());
    let hangs = service.call(0);
    let mut unready = task::spawn(service.call(1));
    assert_pending!(unready.poll());
    drop(unready);
    drop(hangs);
    let mut inner = task::spawn(inner);
    assert!(assert_ready!(inner.enter(|cx, mut inner| Service::<u32>::poll_ready(&mut *inner, cx))).is_ok());
}

#[tokio::test(start_paused = true)]
async fn works_over_and_under_services_that_must_be_readied() {
    let layer = RateLimitLayer::new(&config(4)).unwrap().for_any();
    let over_limit = layer.layer(ConcurrencyLimitLayer::new(1).layer(Log::default()));
    let over_buffer = layer.layer(BufferLayer::<u32>::new(1).layer(Log::default()));
    let under_limit = ConcurrencyLimitLayer::new(2).layer(layer.layer(Log::default()));
    let under_buffer = BufferLayer::<u32>::new(1).layer(layer.layer(Log::default()));
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..16 {
        calls.spawn(over_limit.clone().oneshot(call));
        calls.spawn(over_buffer.clone().oneshot(call));
        let under = under_limit.clone();
        calls.spawn(async move { under.oneshot(call).await });
        let under = under_buffer.clone();
        calls.spawn(async move { under.oneshot(call).await });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    assert_eq!(layer.handle().counts().granted, 64);
}

/// Panics when it is called without having been polled ready, as tower allows it to.
#[derive(Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<u32> for Strict {
    type Response = u32;
    type Error = BoxError;
    type Future = Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called unready");
        ready(Ok(call))
    }
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_polled_ready_is_called() {
    let mut service = RateLimitLayer::new(&config(2)).unwrap().for_any().layer(Strict::default());
    for call in 0..6 {
        assert!(service.ready().await.unwrap().call(call).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_costs_nothing() {
    #[derive(Clone)]
    struct Broken;
    impl Service<u32> for Broken {
        type Response = ();
        type Error = BoxError;
        type Future = Ready<Result<(), BoxError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Err("broken".into()))
        }
        fn call(&mut self, _: u32) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let layer = RateLimitLayer::new(&config(1)).unwrap().for_any();
    let mut service = layer.layer(Broken);
    assert_eq!(service.call(1).await.unwrap_err().to_string(), "broken");
    assert_eq!(layer.handle().available(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_uses_up_its_quota_and_nobody_elses() {
    let layer = RateLimitLayer::new(&config(2)).unwrap().for_any();
    let mut service = layer.layer(service_fn(|_: u32| -> Ready<Result<u32, BoxError>> { panic!("below") }));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| service.call(1))).is_err());
    assert_eq!(layer.handle().available(), 1);
    layer.layer(Log::default()).call(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_waits_and_refusals() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let observer = move |event: &Event<'_>| hears.lock().push(format!("{event:?}"));
    let config = RateLimitConfig { max_queue: 1, max_wait: 2 * SECOND, ..config(1) };
    let layer = RateLimitLayer::new(&config).unwrap().for_any().observers(Observers::new(observer));
    let mut service = layer.layer(Log::default());
    service.call(1).await.unwrap();
    assert!(heard.lock().is_empty());
    let mut waits = task::spawn(service.call(2));
    assert_pending!(waits.poll());
    service.call(3).await.unwrap_err();
    advance(SECOND).await;
    assert_ready!(waits.poll()).unwrap();
    layer.handle().pause(3 * SECOND);
    service.call(4).await.unwrap_err();
    assert_eq!(
        *heard.lock(),
        ["LimiterRefused { queue_full: true }", "LimiterWaited { waited: 1s }", "LimiterRefused { queue_full: false }"]
    );
}

#[test]
fn many_threads_together_get_exactly_the_quota() {
    for algorithm in both() {
        let window = Duration::from_secs(300 * 24 * 3600);
        let config = RateLimitConfig { algorithm, window, max_wait: Duration::ZERO, ..config(1000) };
        let layer = RateLimitLayer::new(&config).unwrap().for_any();
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let mut service = layer.layer(Log::default());
                    scope.spawn(move || {
                        let passes = |call| matches!(task::spawn(service.call(call)).poll(), Poll::Ready(Ok(_)));
                        (0..500).map(passes).filter(|passed| *passed).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 1000, "{algorithm:?}");
        assert_eq!((layer.handle().counts().granted, layer.handle().counts().refused), (1000, 1000));
    }
}

#[tokio::test(start_paused = true)]
async fn futures_and_services_may_go_to_other_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    let layer = RateLimitLayer::new(&config(1)).unwrap();
    let mut service = layer.layer(answer(200, &[]));
    check(&service);
    check(&layer);
    check(&layer.handle());
    check(&service.call(Request::new(())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// As a server sees it: whatever the pattern of arrivals, cancellations and refusals below, no window holds more than `max`
    /// of the calls that were sent, and none that could pass is lost.
    #[test]
    fn no_window_holds_more_calls_than_the_quota(
        max in 1..6_u32,
        arrivals in prop::collection::vec((0..400_u64, prop::bool::weighted(0.2), prop::bool::weighted(0.2)), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (log, passed) = runtime.block_on(async {
            let log = Log::default();
            let config = RateLimitConfig { max_wait: Duration::from_secs(100), ..config(max) };
            let layer = RateLimitLayer::new(&config).unwrap().for_any();
            let sent = log.clone();
            let service = layer.layer(service_fn(move |(call, refuse): (u32, bool)| {
                ready(if refuse {
                    Err(BoxError::from(Rejection::NoEndpoint))
                } else {
                    drop(sent.clone().call(call));
                    Ok(call)
                })
            }));
            let mut calls = tokio::task::JoinSet::new();
            for (call, (wait, refuse, cancel)) in arrivals.into_iter().enumerate() {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let mut service = service.clone();
                let call = service.call((call as u32, refuse));
                calls.spawn(async move {
                    let patience = Duration::from_millis(if cancel { wait } else { 1_000_000 });
                    tokio::time::timeout(patience, call).await.is_ok_and(|result| result.is_ok())
                });
            }
            let mut passed = 0;
            while let Some(ok) = calls.join_next().await {
                passed += usize::from(ok.unwrap());
            }
            (log, passed)
        });
        let log = log.0.lock().clone();
        prop_assert_eq!(log.len(), passed);
        prop_assert!(log.iter().map(|(call, _)| call).is_sorted());
        for pair in log.windows(max as usize + 1) {
            prop_assert!(pair[max as usize].1 - pair[0].1 >= SECOND);
        }
    }
}
