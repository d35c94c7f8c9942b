//! Who shares a quota and who has one of its own.

use nudj_tower::rate_limit::Quota;

use super::*;

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
async fn a_key_whose_calls_wait_for_the_shared_quota_stays_there_until_they_passed() {
    let config = RateLimitConfig { max_keys: 1, ..config(1) };
    let layer = RateLimitLayer::keyed(&config, |call: &u32| call / 10).unwrap().for_any();
    let (log, handle) = (Log::default(), layer.handle());
    let mut service = layer.layer(log.clone());
    service.call(0).await.unwrap();
    advance(SECOND / 2).await;
    service.call(11).await.unwrap();
    advance(SECOND / 10).await;
    let mut second = task::spawn(service.call(12));
    assert_pending!(second.poll());
    advance(SECOND / 2).await;
    // The first key is idle now, so there is room.
    let (mut third, fourth) = (task::spawn(service.call(13)), service.call(14));
    assert_pending!(third.poll());
    assert!(handle.of(&1).is_none(), "it stays with those who wait");
    advance(SECOND * 2 / 5).await;
    assert_eq!(assert_ready!(second.poll()).unwrap(), 12);
    assert_pending!(third.poll());
    advance(SECOND).await;
    assert_eq!(assert_ready!(third.poll()).unwrap(), 13);
    assert_eq!(log.order(), [0, 11, 12, 13]);
    drop(service.call(15));
    assert!(handle.of(&1).is_none(), "a call that was not polled yet waits, too");
    drop(fourth);
    advance(SECOND / 2).await;
    let mut last = task::spawn(service.call(16));
    assert_pending!(last.poll());
    assert!(handle.of(&1).is_some(), "nobody waits there any more, and what passed there counts on");
    advance(SECOND / 2).await;
    assert_eq!(assert_ready!(last.poll()).unwrap(), 16);
}

/// Two changes at a time left keys with the earlier quota, which then were never idle either.
#[tokio::test(start_paused = true)]
async fn a_quota_that_is_set_while_another_is_being_set_is_that_of_all_keys() {
    /// Sets another quota as soon as it is woken, which is while the first one is on its way to the keys.
    struct Sets(Mutex<Option<Box<dyn FnOnce() + Send>>>);
    impl Wake for Sets {
        fn wake(self: Arc<Self>) {
            let set = self.0.lock().take();
            if let Some(set) = set {
                set();
            }
        }
    }
    let layer = RateLimitLayer::keyed(&RateLimitConfig { max_wait: SECOND, ..config(1) }, |call: &u32| *call);
    let layer = layer.unwrap().for_any();
    let (mut service, handle) = (layer.layer(Log::default()), layer.handle());
    let other = handle.clone();
    let set = move || other.set_quota(Quota { max_requests: 7, window: SECOND }).unwrap();
    let waker = Waker::from(Arc::new(Sets(Mutex::new(Some(Box::new(set))))));
    let mut waiting = Vec::new();
    for key in 0..8 {
        service.call(key).await.unwrap();
        let mut waits = Box::pin(service.call(key));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        waiting.push(waits);
    }
    // Nobody who waits can wait for so long.
    handle.set_quota(Quota { max_requests: 1, window: 9 * SECOND }).unwrap();
    drop(waiting);
    for key in 0..8 {
        assert_eq!(handle.of(&key).unwrap().available(), 6, "{key}");
    }
    advance(10 * SECOND).await;
    assert_eq!(handle.evict_idle(), 8, "none of them has a quota of its own");
}
