//! Endpoints that are taken out of the ring for a while.

use std::{
    future::pending,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use futures_util::FutureExt;
use nudj_tower::{
    observe::{Event, Observers},
    round_robin::{Endpoint, Origin, OriginLayer, OutlierConfig, Plain, PlainLayer, RoundRobinHandle, RoundRobinLayer},
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task};
use tower::{Layer, service_fn};

use super::*;

pub(super) fn ejecting(outlier: OutlierConfig) -> RoundRobinConfig {
    RoundRobinConfig { outlier: Some(outlier) }
}

fn over_ejecting<const N: usize>(fakes: &[Fake; N]) -> RoundRobin<Fake> {
    let config = ejecting(OutlierConfig::default());
    RoundRobin::new(&config, fakes.iter().map(|fake| (fake.name, 1, fake.clone()))).unwrap()
}

pub(super) fn ejected(handle: &RoundRobinHandle) -> Vec<Option<Duration>> {
    handle.endpoints().iter().map(|view| view.ejected_for).collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_out_for_its_time_and_comes_back() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let service = over_ejecting(&fakes);
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 15).await;
    assert_eq!(fakes[0].calls(), 5, "its share, no more");
    assert_eq!(ejected(&service.handle()), [Some(30 * SECOND), None, None]);
    assert_eq!(calls(&service, 6).await, "bcbcbc");
    fakes[0].tell(|a| a.fails = false);
    advance(30 * SECOND - Duration::from_millis(1)).await;
    assert!(!calls(&service, 2).await.contains('a'));
    advance(Duration::from_millis(1)).await;
    assert_eq!(ejected(&service.handle()), [None; 3]);
    assert!(calls(&service, 3).await.contains('a'));
}

#[tokio::test(start_paused = true)]
async fn one_success_ends_a_row_of_failures() {
    let fakes = [fake("a"), fake("b")];
    let service = over_ejecting(&fakes);
    for round in 0..6 {
        fakes[0].tell(|a| a.fails = round != 3);
        calls(&service, 2).await;
    }
    assert_eq!(ejected(&service.handle()), [None; 2]);
    calls(&service, 6).await;
    assert_eq!(ejected(&service.handle()), [Some(30 * SECOND), None], "and five more make a row");
}

#[tokio::test(start_paused = true)]
async fn a_failure_rate_ejects_without_a_row() {
    let fakes = [fake("a"), fake("b")];
    let service = over_ejecting(&fakes);
    for round in 0..20 {
        assert_eq!(ejected(&service.handle()), [None; 2], "{round}");
        fakes[0].tell(|a| a.fails = round % 2 == 0);
        calls(&service, 2).await;
    }
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 2).await;
    assert_eq!(ejected(&service.handle()), [Some(30 * SECOND), None]);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_endpoint_is_no_call_of_the_rate() {
    let fakes = [fake("a"), fake("b")];
    let outlier = OutlierConfig { consecutive_failures: 0, ..OutlierConfig::default() };
    let endpoints = fakes.iter().map(|fake| (fake.name, 1, fake.clone()));
    let service = RoundRobin::new(&ejecting(outlier), endpoints).unwrap();
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 38).await;
    for _ in 0..100 {
        drop(service.clone().call(Request::new(())));
    }
    assert_eq!(ejected(&service.handle()), [None; 2]);
    calls(&service, 2).await;
    assert_eq!(ejected(&service.handle()), [Some(30 * SECOND), None], "twenty of twenty");
}

#[tokio::test(start_paused = true)]
async fn never_the_last_and_never_more_than_the_share() {
    let fakes = [fake("a"), fake("b"), fake("c"), fake("d")];
    let service = over_ejecting(&fakes);
    for fake in &fakes {
        fake.tell(|fake| fake.fails = true);
    }
    calls(&service, 100).await;
    assert_eq!(ejected(&service.handle()).iter().flatten().count(), 2, "half of four");

    let alone = [fake("a")];
    let service = over_ejecting(&alone);
    alone[0].tell(|a| a.fails = true);
    calls(&service, 100).await;
    assert_eq!(ejected(&service.handle()), [None]);
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_beats_no_endpoint() {
    let fakes = [fake("a"), fake("b")];
    let service = over_ejecting(&fakes);
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 10).await;
    assert_eq!(calls(&service, 2).await, "bb");
    fakes[1].tell(|b| b.open = Some(SECOND));
    assert_eq!(calls(&service, 2).await, "aa");
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_is_not_where_a_retry_goes() {
    let fakes = [fake("a"), fake("b")];
    let service = over_ejecting(&fakes);
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 10).await;
    let (request, context) = request();
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(request.clone()).await.unwrap().into_body(), "b");
        assert_eq!(context.untried_endpoints(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_rule_nobody_is_ejected() {
    let fakes = [fake("a"), fake("b")];
    let service = over(&fakes);
    fakes[0].tell(|a| a.fails = true);
    calls(&service, 200).await;
    assert_eq!((fakes[0].calls(), service.handle().endpoints()[0].failures), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn a_hung_call_dropped_at_its_deadline_speaks_against_the_endpoint_and_a_cancelled_one_does_not() {
    let hung = Plain(service_fn(|_: Request<()>| pending::<Answer>()));
    let config = ejecting(OutlierConfig::default());
    let service = RoundRobin::new(&config, [("a", 1, hung), ("b", 1, hung)]).unwrap();
    let drop_after = async |wait: Duration| {
        let (request, context) = request();
        context.limit_deadline(Instant::now() + SECOND);
        let mut call = task::spawn(service.clone().call(request));
        assert_pending!(call.poll());
        advance(wait).await;
    };
    for _ in 0..20 {
        drop_after(SECOND / 2).await;
    }
    assert!(service.handle().endpoints().iter().all(|view| view.failures == 0 && view.in_flight == 0));
    for _ in 0..10 {
        drop_after(SECOND).await;
    }
    let views = service.handle().endpoints();
    assert_eq!(views.iter().map(|view| view.failures).collect::<Vec<_>>(), [5, 5]);
    assert!(views[0].ejected_for.is_some() && views[1].ejected_for.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_becomes_ready_is_ejected_by_its_callers_deadlines() {
    let layer = RoundRobinLayer::new(
        &ejecting(OutlierConfig::default()),
        [Endpoint::new("a"), Endpoint::new("b")],
        |_: &Endpoint| (PlainLayer, tower::limit::GlobalConcurrencyLimitLayer::new(0)),
    );
    let layer = layer.unwrap();
    let service = layer.layer(service_fn(|_: Request<()>| pending::<Answer>()));
    for _ in 0..10 {
        let (request, context) = request();
        context.limit_deadline(Instant::now() + SECOND);
        let mut call = task::spawn(service.clone().call(request));
        assert_pending!(call.poll());
        advance(SECOND).await;
    }
    assert_eq!(ejected(&layer.handle()), [Some(29 * SECOND), None]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_the_endpoint() {
    let panics = Plain(service_fn(|()| async {
        if Instant::now().elapsed().is_zero() {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        Ok::<_, BoxError>(())
    }));
    let service = RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, panics)]).unwrap().for_any();
    assert!(AssertUnwindSafe(service.clone().oneshot(())).catch_unwind().await.is_err());
    let view = &service.handle().endpoints()[0];
    assert_eq!((view.failures, view.in_flight), (1, 0));
    // Before there is a future, too.
    let panics = Plain(service_fn(|()| {
        if Instant::now().elapsed().is_zero() {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        std::future::ready(Ok::<_, BoxError>(()))
    }));
    let service = RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, panics)]).unwrap().for_any();
    assert!(AssertUnwindSafe(async { service.clone().oneshot(()).await }).catch_unwind().await.is_err());
    let view = &service.handle().endpoints()[0];
    assert_eq!((view.calls, view.failures, view.in_flight), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn ejections_and_returns_are_told_once() {
    for is_left_alone in [false, true] {
        ejected_and_returned(is_left_alone).await;
    }
}

async fn ejected_and_returned(is_left_alone: bool) {
    let told = Arc::new(Mutex::new(vec![]));
    let seen = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::EndpointEjected { endpoint, until } = event {
            seen.lock().push((endpoint.to_string(), *until));
        }
    });
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    let service = service_fn(move |request: Request<()>| {
        let failed = request.uri().host() == Some("a") && failing.load(Relaxed);
        ready(Ok::<_, BoxError>(Response::builder().status(if failed { 503 } else { 200 }).body("").unwrap()))
    });
    let endpoints = ["http://a", "http://b"].map(|text| Endpoint::at(Origin::parse(text).unwrap()));
    let layers = |endpoint: &Endpoint| (PlainLayer, OriginLayer::of(endpoint));
    let layer = RoundRobinLayer::new(&ejecting(OutlierConfig::default()), endpoints, layers).unwrap();
    let layer = layer.observers(observers);
    let service = layer.layer(service);
    calls(&service, 20).await;
    fails.store(false, Relaxed);
    if is_left_alone {
        assert!(layer.handle().remove("http://b"));
    }
    advance(30 * SECOND).await;
    calls(&service, 2).await;
    // By those calls: to look at the endpoints would take it back too.
    assert_eq!(*told.lock(), [("http://a".to_owned(), Some(30 * SECOND)), ("http://a".to_owned(), None)]);
    assert_eq!(ejected(&layer.handle()), vec![None; if is_left_alone { 1 } else { 2 }]);
}

#[tokio::test(start_paused = true)]
async fn an_active_check_marks_endpoints_down_and_up() {
    let fakes = [fake("a"), fake("b")];
    let service = over_ejecting(&fakes);
    let handle = service.handle();
    assert!(handle.mark_down("a") && !handle.mark_down("nobody") && !handle.mark_up("nobody"));
    assert_eq!(calls(&service, 2).await, "bb");
    assert!(handle.endpoints()[0].down);
    handle.mark_down("b");
    assert_eq!(calls(&service, 2).await.len(), 2, "a check may be wrong: all down is as good as all up");
    handle.mark_up("a");
    handle.mark_up("b");
    fakes[0].tell(|a| a.fails = true);
    while ejected(&handle)[0].is_none() {
        call(&service).await;
    }
    handle.mark_up("a");
    assert_eq!(ejected(&handle), [None; 2], "up ends an ejection");
    assert_eq!(calls(&service, 10).await.matches('a').count(), 5);
    assert_eq!(ejected(&handle), [Some(60 * SECOND), None], "and five more failures begin the next");
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    type Spoil = fn(&mut OutlierConfig);
    let cases: [(&str, Spoil); 8] = [
        ("outlier.failure_rate", |outlier| outlier.failure_rate = Some(0.0)),
        ("outlier.failure_rate", |outlier| outlier.failure_rate = Some(f64::NAN)),
        ("outlier.minimum_calls", |outlier| outlier.minimum_calls = 0),
        ("outlier.window", |outlier| outlier.window = Duration::ZERO),
        ("outlier.base_ejection", |outlier| outlier.base_ejection = Duration::ZERO),
        ("outlier.max_ejection", |outlier| outlier.max_ejection = Duration::from_secs(29)),
        ("outlier.max_ejected_share", |outlier| outlier.max_ejected_share = 1.1),
        ("outlier.max_ejected_share", |outlier| outlier.max_ejected_share = f64::NAN),
    ];
    for (field, spoil) in cases {
        let mut outlier = OutlierConfig::default();
        spoil(&mut outlier);
        let error = RoundRobin::<Fake>::new::<&str>(&ejecting(outlier), []).unwrap_err();
        assert_eq!(error.field(), field);
    }
    let text = "[outlier]\nbase_ejection = \"5s\"\nfailure_rate = 0.25";
    let config: RoundRobinConfig = toml::from_str(text).unwrap();
    let outlier = config.outlier.unwrap();
    assert_eq!((outlier.base_ejection, outlier.failure_rate), (5 * SECOND, Some(0.25)));
    assert!(toml::from_str::<RoundRobinConfig>("[outlier]\nbase = 1").is_err());
}
