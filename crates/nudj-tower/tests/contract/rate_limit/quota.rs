//! As many calls pass as the quota says: when it changes, over threads, and in any window.

use nudj_tower::rate_limit::Quota;
use proptest::prelude::*;

use super::*;

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
async fn what_is_taken_past_the_layer_counts_and_passes_nobody() {
    for algorithm in both() {
        let layer = RateLimitLayer::new(&RateLimitConfig { algorithm, window: SECOND, ..config(2) }).unwrap().for_any();
        let (mut service, handle) = (layer.layer(Log::default()), layer.handle());
        assert!(handle.try_acquire());
        service.call(0).await.unwrap();
        assert!(!handle.try_acquire(), "one call by either way is all of it");
        let mut waiting = task::spawn(service.call(1));
        assert_pending!(waiting.poll());
        advance(SECOND).await;
        assert!(!handle.try_acquire(), "somebody waits for it");
        assert_eq!(assert_ready!(waiting.poll()).unwrap(), 1);
        assert!(handle.try_acquire());
        assert_eq!(handle.counts().granted, 4);
        advance(SECOND).await;
        handle.pause(SECOND);
        assert!(!handle.try_acquire());
        handle.resume();
        assert!(handle.try_acquire());
    }
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
