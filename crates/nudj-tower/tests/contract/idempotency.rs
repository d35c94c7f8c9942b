use std::{
    collections::HashSet,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use http::{HeaderValue, Method, Request, Response};
use nudj_tower::{
    BoxError,
    idempotency::{
        BusinessKey, Derived, IDEMPOTENCY_KEY, IdempotencyConfig, IdempotencyLayer, Key, KeyError, KeySource, KeyStore,
        MemoryKeys, Operation, Stored,
    },
};
use tokio::sync::oneshot;
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};

type Echo = Response<Option<HeaderValue>>;

/// Answers with the key that arrived.
fn echo() -> impl Service<Request<()>, Response = Echo, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| ready(Ok(Response::new(request.headers().get(&IDEMPOTENCY_KEY).cloned()))))
}

async fn key<K>(layer: &IdempotencyLayer<K>, request: Request<()>) -> Option<String>
where
    K: KeySource + Clone,
{
    let answer = layer.layer(echo()).oneshot(request).await.unwrap();
    answer.into_body().map(|key| key.to_str().unwrap().to_owned())
}

fn request(method: Method) -> Request<()> {
    Request::builder().method(method).uri("/orders?token=x").body(()).unwrap()
}

fn named(name: &str) -> Request<()> {
    let mut request = request(Method::POST);
    request.extensions_mut().insert(BusinessKey::new(name));
    request
}

#[tokio::test]
async fn post_and_patch_get_a_new_uuid_v7_and_others_nothing() {
    let layer = IdempotencyLayer::on();
    let mut seen = HashSet::new();
    for method in [Method::POST, Method::PATCH, Method::POST] {
        let key = key(&layer, request(method)).await.unwrap();
        assert_eq!((key.len(), key.as_bytes()[14]), (36, b'7'), "{key}");
        assert!(seen.insert(key), "each call its own");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
        assert_eq!(key(&layer, request(method)).await, None);
    }
}

#[tokio::test]
async fn a_caller_s_own_key_is_kept() {
    let mut request = named("order-42");
    request.headers_mut().insert(IDEMPOTENCY_KEY, HeaderValue::from_static("mine"));
    assert_eq!(key(&IdempotencyLayer::on().source(Derived), request).await.unwrap(), "mine");
}

#[tokio::test]
async fn by_default_nothing_is_added() {
    let layer = IdempotencyLayer::new(IdempotencyConfig::default());
    assert_eq!(key(&layer, request(Method::POST)).await, None);
    assert_eq!(key(&layer.source(Derived), named("order-42")).await, None);
    assert_eq!(toml::from_str::<IdempotencyConfig>("").unwrap(), IdempotencyConfig::default());
}

#[tokio::test]
async fn a_derived_key_depends_on_method_path_and_name_and_on_nothing_else() {
    let layer = IdempotencyLayer::on().source(Derived);
    // Computed with Python: uuid.uuid5(uuid.UUID("6f0f4a3c-52d0-4c0b-9d5e-3f3b8a1e7c21"), "POST /orders order-42")
    assert_eq!(key(&layer, named("order-42")).await.unwrap(), "1de521b5-05ff-5881-a06a-24ca55944953");
    let other_path = named("order-42").map(|()| ());
    let (mut parts, ()) = other_path.into_parts();
    parts.uri = "/refunds".parse().unwrap();
    let mut patch = named("order-42");
    *patch.method_mut() = Method::PATCH;
    let mut other_query = named("order-42");
    *other_query.uri_mut() = "/orders?page=2".parse().unwrap();
    let first = key(&layer, named("order-42")).await;
    for other in [named("order-43"), Request::from_parts(parts, ()), patch, request(Method::POST)] {
        assert_ne!(key(&layer, other).await, first);
    }
    assert_eq!(key(&layer, other_query).await, first);
}

#[tokio::test]
async fn the_name_itself_goes_no_further() {
    let service = IdempotencyLayer::on().source(Derived).layer(service_fn(|request: Request<()>| {
        assert!(request.extensions().is_empty(), "and costs retry's copy nothing");
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    service.oneshot(named("order-42")).await.unwrap();
}

#[tokio::test]
async fn a_stored_key_is_the_one_of_the_first_try() {
    let store = MemoryKeys::new(NonZeroUsize::new(8).unwrap());
    let first = key(&IdempotencyLayer::on().source(Stored::new(store.clone())), named("order-42")).await.unwrap();
    let after_a_restart = IdempotencyLayer::on().source(Stored::new(store.clone()));
    assert_eq!(key(&after_a_restart, named("order-42")).await.unwrap(), first);
    assert_ne!(key(&after_a_restart, named("order-43")).await.unwrap(), first);
    assert_eq!(key(&after_a_restart, request(Method::POST)).await.unwrap().len(), 36);
    assert_eq!(store.len(), 2, "what has no name is not kept");
    store.forget("POST /orders order-42");
    assert_ne!(key(&after_a_restart, named("order-42")).await.unwrap(), first);
}

/// A store that answers when the test says so.
#[derive(Clone, Default)]
struct Slow(Arc<parking_lot::Mutex<Vec<Asked>>>);

type Asked = oneshot::Sender<Result<String, BoxError>>;

impl KeyStore for Slow {
    type Future = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

    fn get_or_insert(&self, _: String, _: String) -> Self::Future {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().push(sender);
        Box::pin(async { receiver.await? })
    }
}

#[tokio::test]
async fn without_its_key_a_request_is_not_sent() {
    for answer in [Err("down".into()), Ok("line\nbreak".to_owned())] {
        let (store, sent) = (Slow::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&sent);
        let service =
            IdempotencyLayer::on().source(Stored::new(store.clone())).layer(service_fn(move |_: Request<()>| {
                count.fetch_add(1, SeqCst);
                ready(Ok::<_, Infallible>(Response::new(())))
            }));
        let mut call = task::spawn(service.oneshot(named("order-42")));
        assert!(call.poll().is_pending());
        store.0.lock().pop().unwrap().send(answer).unwrap();
        let Poll::Ready(Err(error)) = call.poll() else { panic!("must fail") };
        assert!(error.downcast_ref::<KeyError>().is_some() && std::error::Error::source(&*error).is_some());
        assert_eq!(sent.load(SeqCst), 0);
    }
}

/// The store is itself reached over layers like these, and what they said was taken for the request's own end.
#[tokio::test]
async fn a_key_that_cannot_be_had_says_nothing_of_the_api() {
    use nudj_tower::{
        Rejection,
        classify::{Any, Classify, Http, TransportError, Verdict, error_kind},
    };
    let retry_after = Some(std::time::Duration::from_secs(9));
    let causes: [fn(Option<std::time::Duration>) -> BoxError; 3] = [
        |retry_after| Rejection::CircuitOpen { endpoint: None, retry_after }.into(),
        |_| TransportError::Connect("refused".into()).into(),
        |_| "the disk is full".into(),
    ];
    for cause in causes {
        let store = Slow::default();
        let service = IdempotencyLayer::on().source(Stored::new(store.clone())).layer(echo());
        let mut call = task::spawn(service.oneshot(named("order-42")));
        assert!(call.poll().is_pending());
        store.0.lock().pop().unwrap().send(Err(cause(retry_after))).unwrap();
        let Poll::Ready(Err(error)) = call.poll() else { panic!("must fail") };
        assert_eq!((error_kind(&*error), Rejection::find(&*error)), ("idempotency_key", None));
        let verdict = Classify::<Request<()>, Response<()>>::classify(&Http::default(), Err(&*error));
        assert_eq!(verdict, Verdict::ignored());
        assert_eq!(Classify::<(), ()>::classify(&Any, Err(&*error)), Verdict::ignored());
    }
}

#[tokio::test]
async fn while_a_store_is_asked_no_slot_below_is_held() {
    let store = Slow::default();
    let layer = IdempotencyLayer::on().source(Stored::new(store.clone()));
    let service = layer.layer(ConcurrencyLimit::new(echo(), 1));
    let mut waiting = task::spawn(service.clone().oneshot(named("order-42")));
    assert!(waiting.poll().is_pending());
    let other = service.clone().oneshot(request(Method::GET)).await;
    assert!(other.is_ok(), "the only slot is free");
    store.0.lock().pop().unwrap().send(Ok("kept".into())).unwrap();
    assert!(waiting.is_woken());
    let Poll::Ready(Ok(answer)) = waiting.poll() else { panic!("must be sent") };
    assert_eq!(answer.body().as_ref().unwrap(), "kept");
}

#[tokio::test]
async fn a_call_dropped_while_the_store_is_asked_leaves_nothing_behind() {
    let store = Slow::default();
    let limit = ConcurrencyLimit::new(echo(), 1);
    let service = IdempotencyLayer::on().source(Stored::new(store.clone())).layer(limit);
    let mut call = task::spawn(service.clone().oneshot(named("order-42")));
    assert!(call.poll().is_pending());
    drop(call);
    assert!(store.0.lock()[0].is_closed(), "the question is dropped");
    assert!(service.oneshot(request(Method::GET)).await.is_ok());
}

#[tokio::test]
async fn a_call_dropped_while_it_waits_for_the_service_below_gives_its_place_to_the_next() {
    let store = Slow::default();
    let service = IdempotencyLayer::on().source(Stored::new(store.clone())).layer(ConcurrencyLimit::new(echo(), 1));
    let mut asking = task::spawn(service.clone().oneshot(named("order-42")));
    assert!(asking.poll().is_pending());
    let mut holder = service.clone();
    poll_fn(|cx| holder.poll_ready(cx)).await.unwrap();
    store.0.lock().pop().unwrap().send(Ok("kept".into())).unwrap();
    assert!(asking.poll().is_pending(), "the only slot is taken");
    let mut next = task::spawn(service.oneshot(request(Method::GET)));
    assert!(next.poll().is_pending());
    drop(holder);
    assert!(asking.is_woken() && !next.is_woken());
    drop(asking);
    assert!(next.is_woken(), "the place goes on");
    assert!(next.poll().is_ready());
}

#[tokio::test]
async fn the_instance_that_was_ready_holds_nothing_while_a_key_is_asked_for() {
    #[derive(Clone)]
    struct Slow;
    impl KeySource for Slow {
        type Future = std::pin::Pin<Box<dyn Future<Output = Result<HeaderValue, BoxError>> + Send>>;
        fn key(&self, _: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
            Ok(Key::Later(Box::pin(async {
                tokio::task::yield_now().await;
                Ok(HeaderValue::from_static("order-42"))
            })))
        }
    }
    let mut service = IdempotencyLayer::on().source(Slow).layer(ConcurrencyLimit::new(echo(), 1));
    let call = service.ready().await.unwrap().call(request(Method::POST));
    // The service lives on, as in a program that keeps it.
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), call).await;
    assert!(answer.expect("waits for its own slot").is_ok());
    assert!(service.ready().await.is_ok());
}

#[tokio::test]
async fn a_source_of_one_s_own_is_asked_and_may_refuse() {
    #[derive(Clone)]
    struct Picky;
    impl KeySource for Picky {
        type Future = Ready<Result<HeaderValue, BoxError>>;
        fn key(&self, operation: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
            match operation.business_key {
                Some(key) => Ok(Key::Now(HeaderValue::from_str(key.as_str())?)),
                None => Err("every POST must say what it does".into()),
            }
        }
    }
    let layer = IdempotencyLayer::on().source(Picky);
    assert_eq!(key(&layer, named("order-42")).await.unwrap(), "order-42");
    assert!(layer.layer(echo()).oneshot(request(Method::POST)).await.unwrap_err().is::<KeyError>());
}

#[tokio::test]
async fn the_instance_that_was_ready_holds_nothing_after_a_refusal() {
    #[derive(Clone)]
    struct Never;
    impl KeySource for Never {
        type Future = Ready<Result<HeaderValue, BoxError>>;
        fn key(&self, _: &Operation<'_>) -> Result<Key<Self::Future>, BoxError> {
            Err("no".into())
        }
    }
    let mut service = IdempotencyLayer::on().source(Never).layer(ConcurrencyLimit::new(echo(), 1));
    assert!(service.ready().await.unwrap().call(request(Method::POST)).await.unwrap_err().is::<KeyError>());
    // The service lives on, as in a program that keeps it.
    let mut other = task::spawn(service.clone().oneshot(request(Method::GET)));
    assert!(other.poll().is_ready(), "the only slot is free");
}

#[cfg(feature = "retry")]
#[tokio::test(start_paused = true)]
async fn a_server_that_loses_answers_does_the_work_once_per_call() {
    use nudj_tower::{
        classify::TransportError,
        retry::{RetryConfig, RetryLayer},
    };
    let done = Arc::new(parking_lot::Mutex::new((HashSet::new(), 0, fastrand::Rng::with_seed(7))));
    let server = Arc::clone(&done);
    let service = service_fn(move |request: Request<()>| {
        let (effects, attempts, rng) = &mut *server.lock();
        *attempts += 1;
        effects.insert(request.headers()[&IDEMPOTENCY_KEY].clone());
        let lost = rng.f64() < 0.3;
        ready(if lost { Err(TransportError::Exchange("reset".into())) } else { Ok(Response::new(())) })
    });
    let retry = RetryLayer::new(RetryConfig { max_retries: 20, ..RetryConfig::default() }).unwrap().without_budget();
    let service = IdempotencyLayer::on().layer(retry.layer(service));
    for _ in 0..10_000 {
        service.clone().oneshot(request(Method::POST)).await.unwrap();
    }
    let (effects, attempts, _) = &*done.lock();
    assert_eq!(effects.len(), 10_000, "one effect per call");
    assert!(*attempts > 13_000, "{attempts}: and answers were lost");
}
