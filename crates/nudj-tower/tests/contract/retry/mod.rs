//! The retry layer.

mod bodies;
mod budget;
mod cancel;
mod clones;
mod spread;
mod waits;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request, Response, header::RETRY_AFTER};
use nudj_tower::{
    BoxError, CallContext, Rejection,
    classify::{Any, Classify, TransportError, Verdict},
    observe::{Event, Observers},
    retry::{BudgetConfig, Jitter, RetryConfig, RetryLayer},
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn, util::BoxCloneService};

const SECOND: Duration = Duration::from_secs(1);

type Below = BoxCloneService<Request<String>, Response<&'static str>, BoxError>;
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
    asked: Arc<Mutex<Vec<Asked>>>,
    start: Instant,
    untried: Arc<AtomicU32>,
}

/// When, and what.
type Asked = (Duration, Request<String>);

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

    fn service(&self) -> Below {
        let server = self.clone();
        BoxCloneService::new(service_fn(move |request: Request<String>| server.clone().answer(request)))
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

#[tokio::test(start_paused = true)]
async fn a_connect_failure_fails_over_at_once_while_endpoints_are_left() {
    let server = Server::new([Say::Refused, Say::Refused, Say::Refused, Say::Status(200)]).endpoints(3);
    call(layer(), &server, request(Method::POST)).await.unwrap();
    assert_eq!(server.times(), [0, 0, 0, 1].map(Duration::from_secs), "then with the first backoff");
}

#[tokio::test(start_paused = true)]
async fn failovers_are_repeats_too() {
    let server = Server::new([Say::Refused]).endpoints(30);
    call(layer(), &server, get()).await.unwrap_err();
    assert_eq!((server.attempts(), server.start.elapsed()), (4, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_left_for_another_endpoint_or_stands() {
    let server = Server::new([Say::Open, Say::Status(200)]).endpoints(2);
    call(layer(), &server, request(Method::POST)).await.unwrap();
    assert_eq!(server.times(), [Duration::ZERO; 2]);
    let server = Server::new([Say::Open]).endpoints(2);
    let error = call(layer(), &server, get()).await.unwrap_err();
    assert_eq!(Rejection::find(&*error).unwrap().retry_after(), Some(SECOND), "the hint is kept");
    assert_eq!((server.attempts(), server.start.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn it_works_over_services_that_must_be_polled_ready_on_the_instance_that_is_called() {
    let server = Server::new([Say::Status(500), Say::Status(429), Say::Broken, Say::Status(200)]);
    let limited = layer().layer(ConcurrencyLimit::new(server.service(), 1));
    let (a, b) = (limited.clone().oneshot(get()), limited.clone().oneshot(get()));
    let (a, b) = tokio::join!(a, b);
    assert_eq!((a.unwrap().status().as_u16(), b.unwrap().status().as_u16()), (200, 200));
    let server = Server::new([Say::Status(500), Say::Status(500), Say::Status(200)]);
    let buffered = layer().layer(Buffer::new(server.service(), 1));
    assert_eq!(buffered.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(server.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_slot_below_is_held_during_a_wait() {
    let server = Server::new([Say::Status(500), Say::Status(200)]);
    let limited = layer().layer(ConcurrencyLimit::new(server.service(), 1));
    let mut first = tokio_test::task::spawn(limited.clone().oneshot(get()));
    assert!(first.poll().is_pending());
    let second = limited.oneshot(get()).await.unwrap();
    assert_eq!((second.status().as_u16(), server.start.elapsed()), (200, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_classifier_that_knows_nothing_of_contexts_loses_none() {
    #[derive(Clone)]
    struct Plain;
    impl<Req, Res> Classify<Req, Res> for Plain {
        fn classify(&self, result: Result<&Res, &(dyn std::error::Error + 'static)>) -> Verdict {
            result.map_or(Verdict::failure(), |_| Verdict::throttled())
        }
    }
    let server = Server::new([Say::Status(200)]);
    let service = layer().classifier(Plain).layer(server.service());
    service.oneshot(get()).await.unwrap();
    let asked = server.asked.lock();
    let context = CallContext::find(asked[0].1.extensions()).unwrap();
    assert!(asked.len() == 4 && asked.iter().all(|(_, sent)| CallContext::find(sent.extensions()) == Some(context)));
}

#[tokio::test(start_paused = true)]
async fn requests_of_any_kind_can_be_repeated() {
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let service = service_fn(move |n: u32| {
        let nth = count.fetch_add(1, SeqCst);
        async move { if nth < 2 { Err(std::io::Error::other("down")) } else { Ok(n + 1) } }
    });
    let layer = RetryLayer::for_any(config()).unwrap();
    assert!(layer.layer(service.clone()).oneshot(1).await.is_err(), "it may have taken effect");
    assert_eq!(layer.unsafe_methods(true).classifier(Any).layer(service).oneshot(1).await.unwrap(), 2);
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_each_repeat() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let writer = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        writer.lock().push(match event {
            Event::Retried { number, delay, failover } => format!("{number} after {delay:?}, failover {failover}"),
            Event::RetryBudgetExhausted => "budget".to_owned(),
            other => panic!("not for retry: {other:?}"),
        });
    });
    let budget = BudgetConfig { ratio: 3.0, min_per_second: 0 };
    let layer = RetryLayer::new(RetryConfig { budget, max_retries: 9, ..config() }).unwrap().observers(observers);
    let server = Server::new([Say::Refused]).endpoints(2);
    call(layer, &server, get()).await.unwrap_err();
    assert_eq!(
        *told.lock(),
        ["1 after 0ns, failover true", "2 after 1s, failover false", "3 after 2s, failover false", "budget"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_has_one_line_per_repeat_with_the_correlation_id() {
    let (log, _guard) = crate::log::Log::capture(tracing::Level::INFO);
    let server = Server::new([Say::Status(503), Say::Broken, Say::Status(200)]);
    let request = get();
    let trace = nudj_tower::TraceContext::start(&mut fastrand::Rng::with_seed(1));
    CallContext::find(request.extensions()).unwrap().set_ids("order-17".parse().unwrap(), trace);
    call(layer(), &server, request).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for (line, parts) in lines
        .iter()
        .zip([["attempt=1", "delay_ms=1000", "reason=\"503\""], ["attempt=2", "delay_ms=2000", "reason=\"transport\""]])
    {
        assert!(line.contains("correlation_id=\"order-17\"") && line.contains("INFO"), "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line} should have {parts:?}");
    }
}

#[test]
fn a_bad_configuration_is_refused_with_the_field_s_name() {
    let budget = BudgetConfig { ratio: -1.0, min_per_second: 0 };
    let error = RetryLayer::new(RetryConfig { budget, ..config() }).unwrap_err();
    assert_eq!(error.field(), "budget.ratio");
}
