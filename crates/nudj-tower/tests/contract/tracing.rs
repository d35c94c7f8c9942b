//! What who traces is told of attempts: by the call's end where there is a metrics layer, else by themselves.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use nudj_tower::{
    BoxError, CallContext, Rejection, SpanId, TraceContext,
    attempt::AttemptLayer,
    metrics::MetricsLayer,
    observe::{Event, Observer, Observers, TracedAttempt},
    retry::{RetryConfig, RetryLayer},
};
use parking_lot::Mutex;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

type Answer = Result<Response<()>, BoxError>;

fn status(status: u16) -> Answer {
    Ok(Response::builder().status(status).body(()).unwrap())
}

fn traced() -> (Request<()>, CallContext) {
    let mut request = Request::new(());
    let context = CallContext::get_or_insert(request.extensions_mut());
    context.set_ids(HeaderValue::from_static("id"), TraceContext::parse(PARENT.as_bytes()).unwrap());
    (request, context)
}

/// An attempt: its id, repeats, status, error, milliseconds.
type Seen = (SpanId, u32, Option<u16>, Option<&'static str>, u128);

fn seen(attempt: &TracedAttempt) -> Seen {
    (attempt.id, attempt.resends, attempt.status, attempt.error, (attempt.end - attempt.start).as_millis())
}

/// The attempts of a call, if it was traced.
type Call = Option<Vec<Seen>>;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Tracer {
    wants: bool,
    asked: Arc<AtomicUsize>,
    /// By themselves, with their methods.
    alone: Arc<Mutex<Vec<(&'static str, Seen)>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Observer for Tracer {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::AttemptTraced { attempt, .. } => self.alone.lock().push((attempt.method, seen(attempt))),
            Event::CallEnded { attempts, .. } => {
                self.calls.lock().push(attempts.map(|attempts| attempts.iter().map(seen).collect()));
            }
            _ => {}
        }
    }

    fn traces(&self, _: &CallContext) -> bool {
        self.asked.fetch_add(1, Relaxed);
        self.wants
    }
}

impl Tracer {
    fn new(wants: bool) -> Self {
        Self { wants, ..Self::default() }
    }

    fn attempts(&self) -> AttemptLayer {
        AttemptLayer::new().observers(Observers::new(self.clone()))
    }

    fn calls(&self) -> MetricsLayer {
        MetricsLayer::new(Observers::new(self.clone()))
    }
}

/// The ids that were sent.
type Ids = Arc<Mutex<Vec<SpanId>>>;

/// Answers after 20 ms, each time with the next; notes the ids it was sent.
fn answers(
    ids: Ids,
    answers: impl Fn(usize) -> Answer + Clone + Send + Sync + 'static,
) -> impl Service<Request<()>, Response = Response<()>, Error = BoxError, Future: Send> + Clone {
    service_fn(move |request: Request<()>| {
        let sent = TraceContext::parse(request.headers()["traceparent"].as_bytes()).unwrap();
        ids.lock().push(sent.parent);
        let answer = answers(ids.lock().len() - 1);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer
        }
    })
}

#[tokio::test(start_paused = true)]
async fn without_a_metrics_layer_each_attempt_tells_of_itself_with_the_id_that_was_sent() {
    let tracer = Tracer::new(true);
    let ids = Ids::default();
    let service = answers(Arc::clone(&ids), |number| match number {
        0 => status(503),
        1 => Err(Rejection::NoEndpoint.into()),
        _ => status(200),
    });
    let service = tracer.attempts().layer(service);
    let (mut request, context) = traced();
    *request.method_mut() = "BREW".parse().unwrap();
    request.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
    context.set_first_attempt(TraceContext::parse(PARENT.as_bytes()).unwrap().parent);
    for _ in 0..3 {
        let _ = service.clone().oneshot(request.clone()).await;
        context.count_resend();
    }
    let ids = ids.lock();
    assert_eq!(ids[0], TraceContext::parse(PARENT.as_bytes()).unwrap().parent, "the prepared one");
    let expected = [
        ("_OTHER", (ids[0], 0, Some(503), None, 20)),
        ("_OTHER", (ids[1], 1, None, Some("no_endpoint"), 20)),
        ("_OTHER", (ids[2], 2, Some(200), None, 20)),
    ];
    assert_eq!(*tracer.alone.lock(), expected);
    assert_eq!(tracer.asked.load(Relaxed), 3, "each time");
}

#[tokio::test(start_paused = true)]
async fn the_calls_end_tells_of_its_attempts_and_of_no_others() {
    let tracer = Tracer::new(true);
    let ids = Ids::default();
    let service = answers(Arc::clone(&ids), |number| status(if number % 2 == 0 { 503 } else { 200 }));
    let retry = RetryLayer::new(RetryConfig::default()).unwrap();
    let service = ServiceBuilder::new().layer(tracer.calls()).layer(retry).layer(tracer.attempts()).service(service);
    // The same request twice: two calls to whoever counts.
    let (request, _) = traced();
    for _ in 0..2 {
        service.clone().oneshot(request.clone()).await.unwrap();
    }
    let (ids, calls) = (ids.lock(), tracer.calls.lock());
    let of = |first: usize| {
        let sent = |number: usize| (ids[number], u32::try_from(number - number / 2).unwrap());
        let ((failed, before), (answered, after)) = (sent(first), sent(first + 1));
        vec![(failed, before, Some(503), None, 20), (answered, after, Some(200), None, 20)]
    };
    assert_eq!(*calls, [Some(of(0)), Some(of(2))]);
    assert!(tracer.alone.lock().is_empty());
    assert_eq!(tracer.asked.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_outlives_its_call_tells_of_itself() {
    let tracer = Tracer::new(true);
    let ids = Ids::default();
    let attempts = tracer.attempts().layer(answers(Arc::clone(&ids), |_| status(200)));
    let left: Arc<Mutex<Option<tokio::task::JoinHandle<Answer>>>> = Arc::default();
    let leaves = Arc::clone(&left);
    let service = tracer.calls().layer(service_fn(move |request: Request<()>| {
        *leaves.lock() = Some(tokio::spawn(attempts.clone().oneshot(request)));
        ready(status(202))
    }));
    service.oneshot(traced().0).await.unwrap();
    assert_eq!(*tracer.calls.lock(), [Some(vec![])]);
    let attempt = left.lock().take().unwrap();
    attempt.await.unwrap().unwrap();
    assert_eq!(*tracer.alone.lock(), [("GET", (ids.lock()[0], 0, Some(200), None, 20))]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_is_told_once_as_cancelled() {
    let hung = || service_fn(|_: Request<()>| pending::<Answer>());
    let tracer = Tracer::new(true);
    let mut service = tracer.attempts().layer(hung());
    let mut attempt = task::spawn(service.call(traced().0));
    assert_pending!(attempt.poll());
    drop(attempt);
    let told = tracer.alone.lock().clone();
    assert_eq!((told.len(), told[0].1.2, told[0].1.3), (1, None, Some("cancelled")));

    let tracer = Tracer::new(true);
    let mut service = tracer.calls().layer(tracer.attempts().layer(hung()));
    let mut call = task::spawn(service.call(traced().0));
    assert_pending!(call.poll());
    drop(call);
    let calls = tracer.calls.lock();
    let attempts = calls[0].as_ref().unwrap();
    assert_eq!((attempts.len(), attempts[0].3), (1, Some("cancelled")), "it ends before its call");
    assert!(tracer.alone.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_without_a_trace_or_for_who_does_not_want_it() {
    let answer = service_fn(|_: Request<()>| ready(status(200)));
    let (tracer, uninterested) = (Tracer::new(true), Tracer::new(false));
    tracer.attempts().layer(answer).oneshot(Request::new(())).await.unwrap();
    uninterested.attempts().layer(answer).oneshot(traced().0).await.unwrap();
    let observers = Observers::new(uninterested.clone());
    let attempts = AttemptLayer::new().observers(observers.clone());
    let whole = MetricsLayer::new(observers).layer(attempts.layer(answer));
    whole.oneshot(traced().0).await.unwrap();
    assert!(tracer.alone.lock().is_empty() && uninterested.alone.lock().is_empty());
    assert_eq!(*uninterested.calls.lock(), [None]);
    assert_eq!(uninterested.asked.load(Relaxed), 2, "an attempt of a call that was asked for is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn of_two_who_count_each_is_told_what_it_wants_and_no_attempt_twice() {
    let answer = service_fn(|_: Request<()>| ready(status(200)));
    let (tracer, other) = (Tracer::new(true), Tracer::new(false));
    // One around the other, either way, and attempts that tell the one who wants to know.
    for (outer, inner) in [(&tracer, &other), (&other, &tracer), (&tracer, &tracer)] {
        let layers = ServiceBuilder::new().layer(outer.calls()).layer(inner.calls()).layer(tracer.attempts());
        layers.service(answer).oneshot(traced().0).await.unwrap();
        let traced = |call: &Call| call.as_ref().map(Vec::len);
        let calls: Vec<_> = tracer.calls.lock().drain(..).map(|call| traced(&call)).collect();
        let expected = if std::ptr::eq(outer, inner) { vec![Some(1), Some(0)] } else { vec![Some(1)] };
        assert_eq!(calls, expected);
        assert!(tracer.alone.lock().is_empty() && other.calls.lock().drain(..).all(|call| call.is_none()));
    }
    // Who counts does not want to know, and whom the attempts tell does.
    other.calls().layer(tracer.attempts().layer(answer)).oneshot(traced().0).await.unwrap();
    assert_eq!(tracer.alone.lock().drain(..).count(), 1);
    // That one call was not wanted says nothing of the next in the same context.
    let (request, _) = traced();
    other.calls().layer(other.attempts().layer(answer)).oneshot(request.clone()).await.unwrap();
    tracer.calls().layer(tracer.attempts().layer(answer)).oneshot(request).await.unwrap();
    assert_eq!(tracer.calls.lock()[0].as_ref().map(Vec::len), Some(1));
}
