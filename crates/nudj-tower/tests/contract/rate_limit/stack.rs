//! Among other services: those that must be readied, fail, panic or live on other threads.

use std::future::pending;

use tower::{ServiceExt, buffer::BufferLayer, limit::ConcurrencyLimitLayer};

use super::*;

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
async fn futures_and_services_may_go_to_other_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    let layer = RateLimitLayer::new(&config(1)).unwrap();
    let mut service = layer.layer(answer(200, &[]));
    check(&service);
    check(&layer);
    check(&layer.handle());
    check(&service.call(Request::new(())));
}
