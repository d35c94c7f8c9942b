//! Tower's contract, and the bodies a layer works over.

use std::{
    cell::RefCell,
    convert::Infallible,
    marker::PhantomPinned,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use nudj_cache::{BoxError, CacheLayer, HttpCacheConfig};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::origin::{Origin, answer, body, cached, get, layer, memory};

#[tokio::test(start_paused = true)]
async fn two_services_of_one_layer_and_clones_of_it_share_everything() {
    let origin = Origin::new(|number, _| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(answer(200, &[("cache-control", "max-age=60")], &number.to_string()))
    });
    let layer = layer(&memory(), HttpCacheConfig::default());
    let (one, two, three) =
        (layer.layer(origin.clone()), layer.layer(origin.clone()), layer.clone().layer(origin.clone()));
    let answers = tokio::join!(body(&one, get("/a")), body(&two, get("/a")), body(&three, get("/a")));
    assert_eq!(answers, ("0".into(), "0".into(), "0".into()));
    let four = layer.fresh().layer(origin.clone());
    assert_eq!(body(&four, get("/a")).await, "0", "a fresh one still has the same cache behind it");
}

/// Is ready only on its second poll, and panics when called without having been ready.
#[derive(Clone)]
struct Strict {
    ready: bool,
    polls: u32,
    calls: Arc<AtomicU32>,
}

impl Service<Request<Full<Bytes>>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls += 1;
        if self.polls < 2 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        self.polls = 0;
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(answer(200, &[("cache-control", "max-age=1, stale-while-revalidate=9")], "x")))
    }
}

#[tokio::test(start_paused = true)]
async fn service_below_is_called_only_when_it_was_ready_and_a_hit_does_not_ask_it() {
    let strict = Strict { ready: false, polls: 0, calls: Arc::default() };
    let mut service = layer(&memory(), HttpCacheConfig::default()).layer(strict.clone());
    for method in ["GET", "GET", "PUT", "OPTIONS", "GET"] {
        let request = crate::origin::request(method, "/a", &[]);
        service.ready().await.unwrap().call(request).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    service.ready().await.unwrap().call(get("/a")).await.unwrap();
    crate::origin::settle().await;
    assert_eq!(strict.calls.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn service_below_that_is_never_ready_does_not_keep_a_hit() {
    let origin = Origin::answering(|_, _| answer(200, &[("cache-control", "max-age=60")], "x"));
    let (service, cache) = cached(&origin, HttpCacheConfig::default());
    body(&service, get("/a")).await;
    let stuck = ServiceBuilder::new().concurrency_limit(0).service(origin);
    let mut service = layer(&cache, HttpCacheConfig::default()).layer(stuck);
    let hit = service.ready().await.unwrap().call(get("/a"));
    assert!(futures_util::FutureExt::now_or_never(hit).is_some());
}

/// A body that can be neither cloned nor shared, nor moved once it was polled.
struct Stream {
    chunks: RefCell<Vec<&'static str>>,
    _pinned: PhantomPinned,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let next = self.chunks.borrow_mut().pop();
        Poll::Ready(next.map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
    }
}

#[tokio::test(start_paused = true)]
async fn any_body_goes_in_and_comes_out() {
    let calls = Arc::new(AtomicU32::new(0));
    let origin = service_fn({
        let calls = Arc::clone(&calls);
        move |_: Request<Empty<Bytes>>| {
            calls.fetch_add(1, Ordering::SeqCst);
            let mut response = Response::new(Stream { chunks: RefCell::new(vec!["b", "a"]), _pinned: PhantomPinned });
            response.headers_mut().insert("cache-control", "max-age=60".parse().unwrap());
            async move { Ok::<_, BoxError>(response) }
        }
    });
    let layer = CacheLayer::new(memory(), HttpCacheConfig::default()).unwrap().streaming();
    let service = layer.layer(origin);
    for _ in 0..3 {
        let request = Request::get("/a").body(Empty::new()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ab");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}
