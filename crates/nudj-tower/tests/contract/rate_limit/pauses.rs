//! What the server's answers and the handle hold up, and for how long.

use nudj_tower::{
    CallContext,
    observe::{Event, Observers},
};

use super::*;

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
            let limited = Rejection::RateLimited { by: LimitedBy::Pause, retry_after: Some(expected) };
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
    let limited = Rejection::RateLimited { by: LimitedBy::Pause, retry_after: Some(11 * SECOND) };
    assert_eq!(refused(assert_ready!(hurried.poll())), limited);
    advance(9 * SECOND).await;
    assert_pending!(patient.poll());
    // A task that used up its budget is woken when the runtime gets to it.
    tokio::task::yield_now().await;
    assert!(!patient.is_woken(), "its timer is set anew, it does not spin");
    handle.resume();
    assert!(patient.is_woken());
    assert!(assert_ready!(patient.poll()).is_ok());
}

/// A pause that the server asked for read "the quota is used up", and to raise what changes nothing about it.
#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_the_wait_was_too_long_for() {
    let text = |result: Result<Response<()>, BoxError>| refused(result).to_string();
    let within = |time| {
        let mut request = Request::new(());
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(Instant::now() + time);
        request
    };
    let layer = RateLimitLayer::new(&RateLimitConfig { max_wait: SECOND / 2, ..config(1) }).unwrap();
    let mut service = layer.layer(answer(429, &[("retry-after", "7")]));
    service.call(Request::new(())).await.unwrap();
    for request in [Request::new(()), within(SECOND / 4)] {
        let paused = text(service.call(request).await);
        assert!(
            paused.contains("the server asked") && paused.contains("in 7s") && !paused.contains("raise"),
            "{paused}"
        );
    }
    layer.handle().resume();
    let quota = text(service.call(Request::new(())).await);
    assert!(quota.contains("raise max_requests or max_wait"), "{quota}");
    for time in [SECOND / 4, Duration::ZERO] {
        let deadline = text(service.call(within(time)).await);
        assert!(deadline.contains("the call's deadline") && !deadline.contains("max_wait"), "{deadline}");
    }
}
