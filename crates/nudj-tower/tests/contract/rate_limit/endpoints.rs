//! No quota while there is no endpoint to call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nudj_tower::{Availability, Available, CallContext};

use super::*;

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

#[tokio::test(start_paused = true)]
async fn a_call_refused_for_want_of_endpoints_has_none_left_to_go_to() {
    let endpoints = Arc::new(Endpoints::default());
    let asks = Arc::clone(&endpoints);
    let layer = RateLimitLayer::new(&config(1)).unwrap().asks(asks);
    let mut service = layer.layer(answer(200, &[]));
    // A call that was tried at one of two endpoints, and is sent again.
    let again = || {
        let mut request = Request::new(());
        let context = CallContext::get_or_insert(request.extensions_mut());
        context.record_try(1, &"a".into(), 1);
        (request, context)
    };

    let (request, waits) = again();
    service.call(again().0).await.unwrap();
    let mut waiting = task::spawn(service.call(request));
    assert_pending!(waiting.poll());
    assert_eq!(waits.untried_endpoints(), 1, "nothing was said yet");
    endpoints.away.store(true, Ordering::Relaxed);
    let (request, at_once) = again();
    assert!(service.call(request).await.is_err());
    assert_eq!(at_once.untried_endpoints(), 0);

    advance(SECOND).await;
    assert!(assert_ready!(waiting.poll()).is_err());
    assert_eq!(waits.untried_endpoints(), 0, "asked at the head of the queue");
}
