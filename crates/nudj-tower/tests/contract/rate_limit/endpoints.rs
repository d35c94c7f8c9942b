//! No quota while there is no endpoint to call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nudj_tower::{Availability, Available};

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
