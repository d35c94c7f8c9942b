//! A scripted origin behind the cache.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use nudj_cache::{BoxError, Cache, CacheConfig, CacheLayer, HttpCacheConfig, MultiLevelCache, WallClock};
use tower::{Layer, Service, ServiceExt};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Res = Response<Full<Bytes>>;
type Script = dyn Fn(u32, &Req) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = Result<Res, BoxError>> + Send>>;

/// Answers by a script, and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Origin {
    script: Arc<Script>,
    pub(crate) calls: Arc<AtomicU32>,
    pub(crate) seen: Arc<Mutex<Vec<Request<()>>>>,
}

impl Origin {
    /// `script` is given the number of the call, from 0.
    pub(crate) fn new<F>(script: impl Fn(u32, &Req) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Res, BoxError>> + Send + 'static,
    {
        Self {
            script: Arc::new(move |number, request| Box::pin(script(number, request))),
            calls: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Answers at once.
    pub(crate) fn answering(script: impl Fn(u32, &Req) -> Res + Send + Sync + 'static) -> Self {
        Self::new(move |number, request| std::future::ready(Ok(script(number, request))))
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn last(&self) -> Request<()> {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

impl Service<Req> for Origin {
    type Response = Res;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Answer {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut seen = Request::new(());
        *seen.method_mut() = request.method().clone();
        *seen.uri_mut() = request.uri().clone();
        *seen.headers_mut() = request.headers().clone();
        self.seen.lock().unwrap().push(seen);
        (self.script)(number, &request)
    }
}

pub(crate) fn memory() -> MultiLevelCache {
    MultiLevelCache::builder(CacheConfig::default()).seed(1).build().unwrap()
}

pub(crate) fn clock() -> WallClock {
    WallClock::following_tokio(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

pub(crate) fn layer(cache: &MultiLevelCache, config: HttpCacheConfig) -> CacheLayer {
    CacheLayer::new(cache.clone(), config).unwrap().clock(clock())
}

pub(crate) fn cached(origin: &Origin, config: HttpCacheConfig) -> (Cache<Origin>, MultiLevelCache) {
    let cache = memory();
    (layer(&cache, config).layer(origin.clone()), cache)
}

pub(crate) fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Req {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

pub(crate) fn get(uri: &str) -> Req {
    request("GET", uri, &[])
}

pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Res {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::from(body.to_owned())).unwrap()
}

/// Status and body of an answer.
pub(crate) async fn send(service: &Cache<Origin>, request: Req) -> (u16, String) {
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

pub(crate) async fn body(service: &Cache<Origin>, request: Req) -> String {
    send(service, request).await.1
}

/// Lets every task that can run do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
