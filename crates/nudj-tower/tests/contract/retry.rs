use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full, StreamBody};
use nudj_tower::{
    BoxError, CallContext, Rejection,
    classify::{Any, Resend, TransportError, Verdict},
    observe::{Event, Observers},
    retry::{
        Backoff, BudgetConfig, DEFAULT_REPLAY_CAP, Exponential, Jitter, ReplayBody, RetryBudget, RetryConfig,
        RetryLayer,
    },
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Response<&'static str>, BoxError>;

/// What one attempt answers.
#[derive(Clone, Copy, Debug)]
enum Say {
    Status(u16),
    /// A status with a Retry-After in seconds.
    Later(u16, u64),
    Refused,
    Broken,
    /// An open breaker below.
    Open,
    QueueFull,
    Hang,
}

/// A server that answers by a script, the last line over and over, and notes when and how it was asked.
#[derive(Clone)]
struct Server {
    script: Arc<Mutex<VecDeque<Say>>>,
    asked: Arc<Mutex<Vec<(Duration, Request<String>)>>>,
    start: Instant,
    untried: Arc<AtomicU32>,
}

impl Server {
    fn new(script: impl IntoIterator<Item = Say>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            asked: Arc::default(),
            start: Instant::now(),
            untried: Arc::default(),
        }
    }

    /// Plays a balancer with so many endpoints.
    fn endpoints(self, endpoints: u32) -> Self {
        self.untried.store(endpoints - 1, SeqCst);
        self
    }

    fn times(&self) -> Vec<Duration> {
        self.asked.lock().iter().map(|(at, _)| *at).collect()
    }

    fn attempts(&self) -> usize {
        self.asked.lock().len()
    }

    fn service(
        &self,
    ) -> impl Service<Request<String>, Response = Response<&'static str>, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static {
        let server = self.clone();
        service_fn(move |request: Request<String>| server.clone().answer(request))
    }

    async fn answer(self, request: Request<String>) -> Answer {
        if let Some(context) = CallContext::find(request.extensions()) {
            let left = self.untried.load(SeqCst).saturating_sub(context.tries());
            context.record_try(u64::from(context.tries()), &Arc::from("endpoint"), left);
        }
        self.asked.lock().push((self.start.elapsed(), request));
        let say = {
            let mut script = self.script.lock();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0] }
        };
        let response = Response::builder();
        match say {
            Say::Status(status) => Ok(response.status(status).body("answer").unwrap()),
            Say::Later(status, seconds) => {
                Ok(response.status(status).header(RETRY_AFTER, seconds).body("answer").unwrap())
            }
            Say::Refused => Err(TransportError::Connect("refused".into()).into()),
            Say::Broken => Err(TransportError::Exchange("reset".into()).into()),
            Say::Open => Err(Rejection::CircuitOpen { endpoint: None, retry_after: Some(SECOND) }.into()),
            Say::QueueFull => Err(Rejection::QueueFull { limit: 1, retry_after: Some(SECOND) }.into()),
            Say::Hang => pending().await,
        }
    }
}

fn config() -> RetryConfig {
    RetryConfig { jitter: Jitter::None, ..RetryConfig::default() }
}

fn layer() -> RetryLayer {
    RetryLayer::new(config()).unwrap()
}

fn request(method: Method) -> Request<String> {
    let mut request = Request::builder().method(method).uri("/users").body("body".to_owned()).unwrap();
    request.extensions_mut().insert(CallContext::new());
    request
}

fn get() -> Request<String> {
    request(Method::GET)
}

fn with_deadline(deadline: Duration) -> (Request<String>, CallContext) {
    let request = get();
    let context = CallContext::find(request.extensions()).unwrap().clone();
    context.limit_deadline(Instant::now() + deadline);
    (request, context)
}

async fn call(layer: RetryLayer, server: &Server, request: Request<String>) -> Answer {
    layer.layer(server.service()).oneshot(request).await
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_request_is_sent_until_it_succeeds() {
    let server = Server::new([Say::Status(503), Say::Broken, Say::Status(500), Say::Status(200)]);
    let answer = call(layer(), &server, get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.times(), [0, 1, 3, 7].map(Duration::from_secs), "1, 2 and 4 seconds in between");
}

#[tokio::test(start_paused = true)]
async fn after_the_last_repeat_the_real_answer_is_given() {
    let server = Server::new([Say::Status(500), Say::Status(502), Say::Status(503), Say::Status(504)]);
    assert_eq!(call(layer(), &server, get()).await.unwrap().status(), 504);
    assert_eq!(server.attempts(), 4);
    let server = Server::new([Say::Broken]);
    let error = call(layer(), &server, get()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(TransportError::Exchange(_))), "unchanged: {error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_only_when_nothing_was_done() {
    let key = |mut request: Request<String>| {
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        request
    };
    for (say, attempts) in [
        (Say::Status(500), 1),
        (Say::Status(503), 1),
        (Say::Status(408), 1),
        (Say::Status(425), 1),
        (Say::Broken, 1),
        (Say::Status(429), 4),
        (Say::Later(503, 1), 4),
        (Say::Refused, 4),
    ] {
        let server = Server::new([say]);
        let _ = call(layer(), &server, request(Method::POST)).await;
        assert_eq!(server.attempts(), attempts, "{say:?}");
        let server = Server::new([say]);
        let _ = call(layer(), &server, key(request(Method::POST))).await;
        assert_eq!(server.attempts(), 4, "{say:?} with a key");
        let server = Server::new([say]);
        let _ = call(layer().unsafe_methods(true), &server, request(Method::PATCH)).await;
        assert_eq!(server.attempts(), 4, "{say:?} when it was asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_and_own_refusals_stand() {
    for say in [
        Say::Status(200),
        Say::Status(304),
        Say::Status(400),
        Say::Status(401),
        Say::Status(404),
        Say::Status(501),
        Say::QueueFull,
        Say::Open,
    ] {
        let server = Server::new([say]);
        let _ = call(layer(), &server, get()).await;
        assert_eq!(server.attempts(), 1, "{say:?}");
        assert_eq!(server.start.elapsed(), Duration::ZERO, "{say:?}: and without a wait");
    }
}

#[tokio::test(start_paused = true)]
async fn the_very_same_request_is_sent_on_every_attempt() {
    let server = Server::new([Say::Status(500), Say::Refused, Say::Status(429), Say::Status(200)]);
    let mut request = request(Method::PUT);
    request.headers_mut().insert("x-a", "b".parse().unwrap());
    request.extensions_mut().insert(7u8);
    call(layer(), &server, request).await.unwrap();
    let asked = server.asked.lock();
    assert_eq!(asked.len(), 4);
    let context = CallContext::find(asked[0].1.extensions()).unwrap();
    for (_, sent) in asked.iter() {
        assert_eq!((sent.method(), sent.uri().path(), sent.body().as_str()), (&Method::PUT, "/users", "body"));
        assert_eq!(sent.headers()["x-a"], "b");
        assert_eq!(sent.extensions().get::<u8>(), Some(&7));
        assert_eq!(CallContext::find(sent.extensions()), Some(context), "one context for all attempts");
    }
    assert_eq!((context.resends(), context.last_status()), (3, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_has_a_context_even_if_nobody_made_one() {
    let server = Server::new([Say::Status(500), Say::Status(500), Say::Status(200)]);
    call(layer(), &server, Request::new(String::new())).await.unwrap();
    let asked = server.asked.lock();
    let resends = |n: usize| CallContext::find(asked[n].1.extensions()).map(CallContext::resends);
    assert_eq!(resends(0), None);
    assert_eq!((resends(1), resends(2)), (Some(2), Some(2)), "shared, so both show the last number");
}
