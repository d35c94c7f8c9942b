use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, Response};
use nudj_tower::{
    BoxError, CallContext, Rejection, Route, SpanId, TraceContext, TraceId,
    classify::{Http, Outcome, TransportError, Verdict},
    metrics::MetricsLayer,
    observe::{Event, Observer, Observers},
};
use parking_lot::Mutex;
use tokio::time::{Instant, advance};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};
use tracing::Level;

use crate::log::Log;

/// What an observer was told, in plain words.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Started,
    Ended {
        method: Option<&'static str>,
        outcome: Option<Outcome>,
        status: Option<u16>,
        error: Option<String>,
        duration: Duration,
    },
}

fn listener() -> (Observers, Arc<Mutex<Vec<Told>>>) {
    let told: Arc<Mutex<Vec<Told>>> = Arc::default();
    let writer = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        writer.lock().push(match event {
            Event::CallStarted { .. } => Told::Started,
            Event::CallEnded { method, outcome, status, error, duration, .. } => Told::Ended {
                method: *method,
                outcome: *outcome,
                status: *status,
                error: error.map(str::to_owned),
                duration: *duration,
            },
            other => panic!("not for metrics: {other:?}"),
        });
    });
    (observers, told)
}

type Answer = Result<Response<()>, BoxError>;

fn status(status: u16) -> Answer {
    Ok(Response::builder().status(status).body(()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_end_is_told_with_its_kind_and_time() {
    let error = |error: BoxError| -> Box<dyn Fn() -> Answer + Send> {
        let slot = Mutex::new(Some(error));
        Box::new(move || Err(slot.lock().take().unwrap()))
    };
    let answer = |code: u16| -> Box<dyn Fn() -> Answer + Send> { Box::new(move || status(code)) };
    for (make, outcome, code, kind) in [
        (answer(200), Outcome::Success, Some(200), None),
        (answer(304), Outcome::Success, Some(304), None),
        (answer(404), Outcome::Success, Some(404), Some("404")),
        (answer(429), Outcome::Throttled, Some(429), Some("429")),
        (answer(503), Outcome::Failure, Some(503), Some("503")),
        (error(TransportError::Connect("x".into()).into()), Outcome::Failure, None, Some("connect")),
        (error(Rejection::NoEndpoint.into()), Outcome::Ignored, None, Some("no_endpoint")),
        (error("else".into()), Outcome::Failure, None, Some("_OTHER")),
    ] {
        let (observers, told) = listener();
        let make = Arc::new(Mutex::new(make));
        let service = service_fn(move |_: Request<()>| {
            let answer = make.lock()();
            async move {
                tokio::time::sleep(Duration::from_millis(250)).await;
                answer
            }
        });
        let _ = MetricsLayer::new(observers).layer(service).oneshot(Request::put("/").body(()).unwrap()).await;
        let duration = Duration::from_millis(250);
        let ended = Told::Ended {
            method: Some("PUT"),
            outcome: Some(outcome),
            status: code,
            error: kind.map(str::to_owned),
            duration,
        };
        assert_eq!(*told.lock(), [Told::Started, ended]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_told_as_one_without_outcome() {
    let (observers, told) = listener();
    let mut service =
        MetricsLayer::new(observers).layer(service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>()));
    let mut call = task::spawn(service.call(Request::new(())));
    assert!(call.poll().is_pending());
    advance(Duration::from_secs(3)).await;
    drop(call);
    let duration = Duration::from_secs(3);
    let ended = Told::Ended { method: Some("GET"), outcome: None, status: None, error: None, duration };
    assert_eq!(*told.lock(), [Told::Started, ended], "once");
}

#[tokio::test]
async fn the_answer_and_the_error_pass_unchanged() {
    let (observers, _) = listener();
    let layer = MetricsLayer::new(observers);
    let error = layer
        .layer(service_fn(|_: Request<()>| ready(Err::<Response<()>, _>(io::Error::other("mine")))))
        .oneshot(Request::new(()))
        .await
        .unwrap_err();
    assert_eq!(error.downcast_ref::<io::Error>().unwrap().to_string(), "mine");
    let answer = layer.layer(service_fn(|_: Request<()>| ready(status(418)))).oneshot(Request::new(())).await;
    assert_eq!(answer.unwrap().status(), 418);
}

#[tokio::test]
async fn the_context_is_the_one_below_sees_and_is_made_when_there_is_none() {
    let seen: Arc<Mutex<Vec<CallContext>>> = Arc::default();
    let writer = Arc::clone(&seen);
    let observers = Observers::new(move |event: &Event<'_>| match event {
        Event::CallStarted { context } | Event::CallEnded { context, .. } => writer.lock().push((*context).clone()),
        _ => {}
    });
    let writer = Arc::clone(&seen);
    let service = MetricsLayer::new(observers).layer(service_fn(move |request: Request<()>| {
        writer.lock().push(CallContext::find(request.extensions()).unwrap().clone());
        ready(status(200))
    }));
    service.clone().oneshot(Request::new(())).await.unwrap();
    let mut request = Request::new(());
    let given = CallContext::get_or_insert(request.extensions_mut());
    service.oneshot(request).await.unwrap();
    let seen = seen.lock();
    assert!(seen[..3].iter().all(|context| *context == seen[0]) && seen[0] != given);
    assert!(seen[3..].iter().all(|context| *context == given) && seen.len() == 6);
}

#[tokio::test]
async fn with_nobody_listening_nothing_is_made() {
    let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
    let service = MetricsLayer::new(Observers::default()).layer(service_fn(|request: Request<()>| {
        assert!(request.extensions().is_empty());
        ready(status(200))
    }));
    let call = service.oneshot(Request::new(()));
    call.await.unwrap();
}

fn request_with_ids() -> Request<()> {
    let mut request = Request::post("/users/42?token=s3cret").header("x-api-token", "s3cret").body(()).unwrap();
    let context = CallContext::get_or_insert(request.extensions_mut());
    let trace = TraceContext {
        trace_id: TraceId::new(0xabc).unwrap(),
        parent: SpanId::new(1).unwrap(),
        flags: 1,
        tracestate: None,
    };
    context.set_ids(HeaderValue::from_static("order-17"), trace);
    context.set_route(Route { operation: "updateUser", template: "/users/{id}" });
    request
}

#[tokio::test(start_paused = true)]
async fn the_log_has_the_three_lines_with_ids_and_without_secrets() {
    let (log, _guard) = Log::capture(Level::DEBUG);
    let layer = MetricsLayer::new(Observers::default());
    let answer = |result: fn() -> Answer| {
        layer.layer(service_fn(move |request: Request<()>| {
            let context = CallContext::find(request.extensions()).unwrap();
            context.record_try(1, &Arc::from("https://a"), 0);
            ready(result())
        }))
    };
    answer(|| status(200)).oneshot(request_with_ids()).await.unwrap();
    answer(|| status(404)).oneshot(request_with_ids()).await.unwrap();
    answer(|| Err(Rejection::NoEndpoint.into())).oneshot(request_with_ids()).await.unwrap_err();
    answer(|| Err("password=s3cret".into())).oneshot(request_with_ids()).await.unwrap_err();
    let lines = log.lines();
    let ids = "correlation_id=\"order-17\"";
    let expected: [&[&str]; 8] = [
        &["DEBUG", "call started", ids, "operation=\"updateUser\"", "url.template=\"/users/{id}\""],
        &[
            "INFO",
            "call completed",
            ids,
            "trace_id=00000000000000000000000000000abc",
            "http.request.method=\"POST\"",
            "http.response.status_code=200",
            "outcome=\"success\"",
            "duration_ms=0",
            "attempts=1",
            "endpoint=\"https://a\"",
        ],
        &["DEBUG", "call started"],
        &["INFO", "call failed", ids, "http.response.status_code=404", "error.type=\"404\""],
        &["DEBUG", "call started"],
        &["INFO", "call failed", ids, "error.type=\"no_endpoint\"", "error=\"no endpoint: the list of endpoints"],
        &["DEBUG", "call started"],
        &["INFO", "call failed", ids, "error.type=\"_OTHER\"", "outcome=\"failure\""],
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, parts) in lines.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line} should have {parts:?}");
    }
    assert!(lines.iter().all(|line| !line.contains("s3cret") && !line.contains("/users/42")));
}

#[tokio::test(start_paused = true)]
async fn at_info_there_is_one_line_per_finished_call_and_none_for_a_dropped_one() {
    let (log, _guard) = Log::capture(Level::INFO);
    let layer = MetricsLayer::new(Observers::default());
    layer.layer(service_fn(|_: Request<()>| ready(status(200)))).oneshot(request_with_ids()).await.unwrap();
    let mut hung = layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    let mut call = task::spawn(hung.call(request_with_ids()));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
}

/// Without a balancer nobody counts them, and a call that had been sent was logged with `attempts=0`.
#[tokio::test(start_paused = true)]
async fn attempts_that_nobody_counts_are_left_out_of_the_log() {
    let (log, _guard) = Log::capture(Level::INFO);
    let service = MetricsLayer::new(Observers::default()).layer(service_fn(|_: Request<()>| ready(status(200))));
    service.oneshot(request_with_ids()).await.unwrap();
    let lines = log.lines();
    assert!(lines[0].contains("call completed") && !lines[0].contains("attempts"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_status_beyond_the_known_classes_is_a_failed_call() {
    let (observers, told) = listener();
    let service = MetricsLayer::new(observers).layer(service_fn(|_: Request<()>| ready(status(600))));
    service.oneshot(Request::new(())).await.unwrap();
    let Told::Ended { outcome, error, .. } = &told.lock()[1] else { panic!("must have ended") };
    assert_eq!((*outcome, error.as_deref()), (Some(Outcome::Failure), Some("600")));
}

#[tokio::test(start_paused = true)]
async fn a_method_nobody_knows_is_not_repeated_to_anybody() {
    let (observers, told) = listener();
    let service = MetricsLayer::new(observers).layer(service_fn(|_: Request<()>| ready(status(200))));
    service.oneshot(Request::builder().method("S3CRET").body(()).unwrap()).await.unwrap();
    assert!(matches!(&told.lock()[1], Told::Ended { method: Some("_OTHER"), .. }));
}

#[tokio::test]
async fn a_classifier_of_one_s_own_and_calls_of_any_kind_work() {
    let (observers, told) = listener();
    let rules = Http::default().first(|_| Some(Verdict::throttled()));
    let service = MetricsLayer::new(observers.clone()).classifier(rules);
    service.layer(service_fn(|_: Request<()>| ready(status(200)))).oneshot(Request::new(())).await.unwrap();
    assert!(matches!(&told.lock()[1], Told::Ended { outcome: Some(Outcome::Throttled), .. }));
    let any = MetricsLayer::for_any(observers).layer(service_fn(|n: u64| ready(Ok::<_, Infallible>(n + 1))));
    assert_eq!(any.oneshot(1).await.unwrap(), 2);
    assert!(matches!(&told.lock()[3], Told::Ended { outcome: Some(Outcome::Success), status: None, method: None, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_is_told_as_a_dropped_call() {
    let (observers, told) = listener();
    let service = MetricsLayer::new(observers).layer(service_fn(|_: Request<()>| async {
        assert!(Instant::now().elapsed() > Duration::ZERO, "on purpose");
        status(200)
    }));
    let call = tokio::spawn(service.oneshot(Request::new(())));
    assert!(call.await.unwrap_err().is_panic());
    assert!(matches!(&told.lock()[1], Told::Ended { outcome: None, .. }));
}

/// Told of calls or not.
struct Switched {
    is_on: Arc<std::sync::atomic::AtomicBool>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Observer for Switched {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::CallStarted { .. } => "started".to_owned(),
            Event::CallEnded { status, error, duration, .. } => {
                format!("ended {status:?} {error:?} {}", duration.as_millis())
            }
            other => format!("{other:?}"),
        };
        self.told.lock().push(line);
    }

    fn is_on(&self) -> bool {
        self.is_on.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_is_off_at_the_start_of_a_call_is_not_told_of_its_end() {
    let (_log, _guard) = Log::capture(Level::INFO);
    let (is_on, told) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), Arc::<Mutex<Vec<String>>>::default());
    let layer = MetricsLayer::new(Observers::new(Switched { is_on: Arc::clone(&is_on), told: Arc::clone(&told) }));
    let switch = Arc::clone(&is_on);
    let service = layer.layer(service_fn(move |_: Request<()>| {
        switch.store(true, std::sync::atomic::Ordering::Relaxed);
        async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            status(404)
        }
    }));
    service.clone().oneshot(request_with_ids()).await.unwrap();
    assert!(told.lock().is_empty(), "it came in the midst of the call: {told:?}");
    service.clone().oneshot(request_with_ids()).await.unwrap();
    assert_eq!(*told.lock(), ["started", "ended Some(404) Some(\"404\") 30"]);
    told.lock().clear();
    let mut service = service;
    let mut call = task::spawn(service.call(request_with_ids()));
    assert!(call.poll().is_pending());
    drop(call);
    assert_eq!(*told.lock(), ["started", "ended None None 0"]);
}
