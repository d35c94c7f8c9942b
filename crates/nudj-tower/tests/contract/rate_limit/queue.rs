//! Who waits, in which order and how long, and who is refused instead.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use nudj_tower::{
    CallContext,
    observe::{Event, Observers},
};

use super::*;

/// Counts how often its future is polled.
struct Polled<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.as_mut().poll(cx)
    }
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
    let late = |wait| Rejection::RateLimited { by: LimitedBy::MaxWait, retry_after: Some(wait) };
    service.call(1).await.unwrap();
    assert_eq!(refused(service.call(2).await), late(SECOND));
    advance(SECOND * 3 / 5).await;
    let mut waits = task::spawn(service.call(3));
    assert_pending!(waits.poll());
    assert_eq!(refused(service.call(4).await), late(SECOND * 7 / 5));
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
async fn a_wait_that_leaves_the_call_no_tenth_of_its_time_is_refused_at_once() {
    let layer = RateLimitLayer::new(&config(1)).unwrap();
    let mut service = layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    service.call(Request::new(())).await.unwrap();
    let within = |time: Duration| {
        let mut request = Request::new(());
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(Instant::now() + time);
        request
    };
    let limited = Rejection::RateLimited { by: LimitedBy::Deadline, retry_after: Some(SECOND) };
    let long_enough = SECOND * 10 / 9;
    assert_eq!(refused(service.call(within(long_enough - Duration::from_nanos(1))).await), limited);
    assert_eq!(refused(service.call(within(Duration::ZERO)).await), limited);
    assert_pending!(task::spawn(service.call(within(long_enough))).poll());
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
