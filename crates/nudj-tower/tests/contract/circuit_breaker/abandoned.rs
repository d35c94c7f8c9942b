//! A call that its caller dropped: whether it hung.

use std::future::Pending;

use nudj_tower::CallContext;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_dropped_early_says_nothing_and_one_that_hung_is_a_failure() {
    for (in_flight, expected) in [
        (Duration::ZERO, State::Closed),
        (Duration::from_millis(999), State::Closed),
        (Duration::from_secs(1), State::Open),
    ] {
        let layer = layer(&fail_once());
        let mut service = scripted(&layer);
        let mut call = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(call.poll().is_pending());
        tokio::time::advance(in_flight).await;
        assert!(call.poll().is_pending(), "a later poll starts no new count");
        drop(call);
        assert_eq!(layer.handle().state(), expected, "{in_flight:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_cut_by_an_outer_timeout_open_it() {
    let layer = layer(&CircuitBreakerConfig { failure_threshold: 100, ..Default::default() });
    let service = tower::timeout::Timeout::new(scripted(&layer), Duration::from_secs(2));
    for number in 0..100 {
        assert_eq!(layer.handle().counts().consecutive_failures, number);
        assert!(service.clone().oneshot(Script::Hang).await.is_err());
    }
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn abandoned_after_follows_the_slow_call_and_can_be_turned_off() {
    let seconds = Duration::from_secs;
    let slow = CircuitBreakerConfig { slow_call: Some(seconds(3)), ..fail_once() };
    let own = CircuitBreakerConfig { abandoned_after: Some(seconds(2)), ..slow.clone() };
    let off = CircuitBreakerConfig { abandoned_after: Some(Duration::ZERO), ..fail_once() };
    let stack = |config: &CircuitBreakerConfig| config.clone().with_attempt_timeout(seconds(1000));
    let cases = [
        (stack(&fail_once()), Some(1000)),
        (stack(&slow), Some(3)),
        (stack(&own), Some(2)),
        (stack(&off), None),
        (fail_once(), Some(1)),
        (slow, Some(3)),
        (own, Some(2)),
        (off, None),
    ];
    for (config, hung) in cases {
        for waited in [1, 2, 3, 1000] {
            let layer = layer(&config);
            let mut call = task::spawn(scripted(&layer).call(Script::Hang));
            assert!(call.poll().is_pending());
            tokio::time::advance(seconds(waited)).await;
            drop(call);
            let expected = if hung.is_some_and(|hung| waited >= hung) { State::Open } else { State::Closed };
            assert_eq!(layer.handle().state(), expected, "{waited} s, {:?}", config.abandoned_after);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_its_deadline_is_a_failure() {
    for (early, expected) in [(MILLISECOND, State::Closed), (Duration::ZERO, State::Open)] {
        let layer = layer(&fail_once());
        let hang: fn(Request<()>) -> Pending<Answer> = |_| pending();
        let mut service = layer.layer(service_fn(hang));
        let mut request = ask(200);
        let deadline = Instant::now() + 100 * MILLISECOND;
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(deadline);
        let mut call = task::spawn(service.ready().await.unwrap().call(request));
        assert!(call.poll().is_pending());
        tokio::time::advance(100 * MILLISECOND - early).await;
        drop(call);
        assert_eq!(layer.handle().state(), expected, "{early:?} before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_has_not_hung() {
    let (mut service, handle) = probing(&fail_once()).await;
    let unpolled = service.ready().await.unwrap().call(Script::Hang);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(matches!(service.availability(), Availability::Unavailable { .. }));
    drop(unpolled);
    assert_eq!((handle.state(), service.availability()), (State::HalfOpen, Availability::Available));
}
