use std::{
    future::{Future, Pending, Ready, pending, ready},
    sync::{Arc, Mutex, OnceLock},
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use nudj_tower::{
    Availability, Available, BoxError, CallContext, Rejection, TryCall,
    circuit_breaker::{
        BreakerHandle, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, KeyedBreakers,
        KeyedCircuitBreakerLayer, State,
    },
    classify::Any,
    observe::{Event, Observers},
};
use tokio::{sync::oneshot, time::Instant};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};

type Answer = Result<Response<()>, BoxError>;

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 2, ..Default::default() }
}

fn layer(config: &CircuitBreakerConfig) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(config).expect("a valid configuration").named("a")
}

type Echo = ServiceFn<fn(Request<()>) -> Ready<Answer>>;

fn echo(layer: &CircuitBreakerLayer) -> CircuitBreaker<Echo> {
    layer.layer(echo_inner())
}

/// Answers with the status that the request's path names.
fn echo_inner() -> Echo {
    let answer: fn(Request<()>) -> Ready<Answer> = |request| {
        let status: u16 = request.uri().path()[1..].parse().unwrap();
        ready(Ok(Response::builder().status(status).body(()).unwrap()))
    };
    service_fn(answer)
}

fn ask(status: u16) -> Request<()> {
    Request::builder().uri(format!("/{status}")).body(()).unwrap()
}

fn refusal(answer: Answer) -> Option<Option<Duration>> {
    match Rejection::find(&*answer.err()?)? {
        Rejection::CircuitOpen { endpoint, retry_after } => {
            assert_eq!(endpoint.as_deref(), Some("a"));
            Some(*retry_after)
        }
        other => panic!("not the breaker's word: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_probe_closes_it() {
    let layer = layer(&config());
    let (mut service, handle) = (echo(&layer), layer.handle());
    for status in [500, 200, 500, 404, 503] {
        assert!(service.ready().await.unwrap().call(ask(status)).await.is_ok());
        assert_eq!(handle.state(), State::Closed);
    }
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    assert_eq!(handle.state(), State::Open);
    let wait = Duration::from_secs(60);
    assert_eq!(refusal(service.ready().await.unwrap().call(ask(200)).await), Some(Some(wait)));
    tokio::time::advance(wait - Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Unavailable { retry_after: Some(Duration::from_millis(1)) });
    let refused = service.ready().await.unwrap().try_call(ask(200)).expect_err("still open");
    assert_eq!(refused.request.uri().path(), "/200", "the request comes back");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Available);
    assert!(service.ready().await.unwrap().call(ask(200)).await.is_ok());
    assert_eq!(handle.state(), State::Closed);
}

/// Hangs until the test answers; counts nothing, panics on request.
type Scripted = CircuitBreaker<ServiceFn<fn(Script) -> BoxFuture<'static, Result<u32, BoxError>>>, Any>;

enum Script {
    Answer(oneshot::Receiver<Result<u32, BoxError>>),
    Hang,
    PanicInCall,
    PanicInPoll,
}

fn scripted(layer: &CircuitBreakerLayer) -> Scripted {
    let answer: fn(Script) -> BoxFuture<'static, Result<u32, BoxError>> = |script| match script {
        Script::Answer(answer) => Box::pin(async move { answer.await? }),
        Script::Hang => Box::pin(pending()),
        Script::PanicInCall => panic!("in call"),
        Script::PanicInPoll => Box::pin(async { panic!("in poll") }),
    };
    layer.clone().for_any().layer(service_fn(answer))
}

fn fail_once() -> CircuitBreakerConfig {
    CircuitBreakerConfig { failure_threshold: 1, ..Default::default() }
}

/// A half-open circuit whose probe is the next call.
async fn probing(config: &CircuitBreakerConfig) -> (Scripted, BreakerHandle) {
    let layer = layer(config);
    let (mut service, handle) = (scripted(&layer), layer.handle());
    let (answer, asked) = oneshot::channel();
    answer.send(Err("sick".into())).unwrap();
    assert!(service.ready().await.unwrap().call(Script::Answer(asked)).await.is_err());
    tokio::time::advance(config.open_for).await;
    (service, handle)
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_call_dropped_early_says_nothing_and_one_that_hung_is_a_failure() {
    for (in_flight, expected) in [
        (Duration::ZERO, State::Closed),
        (Duration::from_millis(999), State::Closed),
        (Duration::from_secs(1), State::Open),
    ] {
        let layer = layer(&fail_once());
        let mut service = scripted(&layer);
        let mut call = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(call.poll().is_pending());
        tokio::time::advance(in_flight).await;
        assert!(call.poll().is_pending(), "a later poll starts no new count");
        drop(call);
        assert_eq!(layer.handle().state(), expected, "{in_flight:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_cut_by_an_outer_timeout_open_it() {
    let layer = layer(&CircuitBreakerConfig { failure_threshold: 100, ..Default::default() });
    let service = tower::timeout::Timeout::new(scripted(&layer), Duration::from_secs(2));
    for number in 0..100 {
        assert_eq!(layer.handle().counts().consecutive_failures, number);
        assert!(service.clone().oneshot(Script::Hang).await.is_err());
    }
    assert_eq!(layer.handle().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn abandoned_after_follows_the_slow_call_and_can_be_turned_off() {
    let seconds = Duration::from_secs;
    let slow = CircuitBreakerConfig { slow_call: Some(seconds(3)), ..fail_once() };
    let own = CircuitBreakerConfig { abandoned_after: Some(seconds(2)), ..slow.clone() };
    let off = CircuitBreakerConfig { abandoned_after: Some(Duration::ZERO), ..fail_once() };
    let stack = |config: &CircuitBreakerConfig| config.clone().with_attempt_timeout(seconds(1000));
    let cases = [
        (stack(&fail_once()), Some(1000)),
        (stack(&slow), Some(3)),
        (stack(&own), Some(2)),
        (stack(&off), None),
        (fail_once(), Some(1)),
        (slow, Some(3)),
        (own, Some(2)),
        (off, None),
    ];
    for (config, hung) in cases {
        for waited in [1, 2, 3, 1000] {
            let layer = layer(&config);
            let mut call = task::spawn(scripted(&layer).call(Script::Hang));
            assert!(call.poll().is_pending());
            tokio::time::advance(seconds(waited)).await;
            drop(call);
            let expected = if hung.is_some_and(|hung| waited >= hung) { State::Open } else { State::Closed };
            assert_eq!(layer.handle().state(), expected, "{waited} s, {:?}", config.abandoned_after);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_its_deadline_is_a_failure() {
    for (early, expected) in [(MILLISECOND, State::Closed), (Duration::ZERO, State::Open)] {
        let layer = layer(&fail_once());
        let hang: fn(Request<()>) -> Pending<Answer> = |_| pending();
        let mut service = layer.layer(service_fn(hang));
        let mut request = ask(200);
        let deadline = Instant::now() + 100 * MILLISECOND;
        CallContext::get_or_insert(request.extensions_mut()).limit_deadline(deadline);
        let mut call = task::spawn(service.ready().await.unwrap().call(request));
        assert!(call.poll().is_pending());
        tokio::time::advance(100 * MILLISECOND - early).await;
        drop(call);
        assert_eq!(layer.handle().state(), expected, "{early:?} before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_has_not_hung() {
    let (mut service, handle) = probing(&fail_once()).await;
    let unpolled = service.ready().await.unwrap().call(Script::Hang);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(matches!(service.availability(), Availability::Unavailable { .. }));
    drop(unpolled);
    assert_eq!((handle.state(), service.availability()), (State::HalfOpen, Availability::Available));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let (mut service, handle) = probing(&fail_once()).await;
    for _ in 0..3 {
        let mut probe = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(probe.poll().is_pending());
        assert_eq!(service.availability(), Availability::Unavailable { retry_after: None });
        let refused = service.ready().await.unwrap().call(Script::Hang).now_or_never();
        assert!(refused.is_some_and(|answer| answer.is_err()), "the place is taken");
        drop(probe);
        assert_eq!((handle.state(), service.availability()), (State::HalfOpen, Availability::Available));
    }
    let mut hung = task::spawn(service.ready().await.unwrap().call(Script::Hang));
    assert!(hung.poll().is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(hung);
    assert_eq!(handle.state(), State::Open, "a probe that hung has failed");
}

#[tokio::test(start_paused = true)]
async fn a_lost_probe_does_not_hold_the_circuit_half_open() {
    let (mut service, handle) = probing(&fail_once()).await;
    let mut lost = task::spawn(service.ready().await.unwrap().call(Script::Hang));
    assert!(lost.poll().is_pending());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!((handle.state(), handle.until_probe()), (State::Open, Some(Duration::from_secs(60))));
    tokio::time::advance(Duration::from_secs(60)).await;
    let (answer, asked) = oneshot::channel();
    answer.send(Ok(1)).unwrap();
    assert_eq!(service.ready().await.unwrap().call(Script::Answer(asked)).await.unwrap(), 1);
    assert_eq!(handle.state(), State::Closed);
    drop(lost);
    assert_eq!((handle.state(), handle.counts().consecutive_failures), (State::Closed, 0), "its news is stale");
}

#[tokio::test(start_paused = true)]
async fn a_call_from_before_changes_nothing_afterwards() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (scripted(&layer), layer.handle());
    let (old_answer, asked) = oneshot::channel();
    let mut old = task::spawn(service.ready().await.unwrap().call(Script::Answer(asked)));
    assert!(old.poll().is_pending());
    handle.force_open();
    handle.reset();
    old_answer.send(Err("sick".into())).unwrap();
    assert!(matches!(old.poll(), Poll::Ready(Err(_))));
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_panic_below_is_a_failure() {
    for script in [|| Script::PanicInCall, || Script::PanicInPoll] {
        let layer = layer(&fail_once());
        let mut service = scripted(&layer);
        assert!(tokio::spawn(async move { service.ready().await.unwrap().call(script()).await }).await.is_err());
        assert_eq!(layer.handle().state(), State::Open);
    }
    let (mut service, handle) = probing(&fail_once()).await;
    assert!(tokio::spawn(async move { service.ready().await.unwrap().call(Script::PanicInPoll).await }).await.is_err());
    assert_eq!(handle.state(), State::Open, "a probe that panicked has failed");
}

#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_that_drops_the_call_is_not_its_failure() {
    let layer = layer(&fail_once());
    let mut service = scripted(&layer);
    let task = tokio::spawn(async move {
        let mut call = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(call.poll().is_pending());
        panic!("the caller's own");
    });
    assert!(task.await.is_err());
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_open_it_by_the_time_since_the_first_wait() {
    let config = CircuitBreakerConfig {
        slow_call: Some(Duration::from_secs(1)),
        slow_call_rate: Some(1.0),
        minimum_calls: Some(1),
        ..Default::default()
    };
    for (took, expected) in [(Duration::from_millis(999), State::Closed), (Duration::from_secs(1), State::Open)] {
        let layer = layer(&config);
        let mut service = scripted(&layer);
        let (answer, asked) = oneshot::channel();
        let call = service.ready().await.unwrap().call(Script::Answer(asked));
        tokio::time::advance(Duration::from_secs(5)).await;
        let mut call = task::spawn(call);
        assert!(call.poll().is_pending(), "the time before the first poll is the caller's");
        tokio::time::advance(took).await;
        answer.send(Ok(1)).unwrap();
        assert!(call.poll().is_ready());
        assert_eq!(layer.handle().state(), expected, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_layers_below_are_nobodys_failure() {
    let layer = layer(&fail_once());
    let mut service = scripted(&layer);
    for rejection in [
        Rejection::RateLimited { retry_after: None },
        Rejection::QueueFull { limit: 1, retry_after: None },
        Rejection::CircuitOpen { endpoint: None, retry_after: None },
    ] {
        let (answer, asked) = oneshot::channel();
        answer.send(Err(rejection.clone().into())).unwrap();
        let error = service.ready().await.unwrap().call(Script::Answer(asked)).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&rejection), "it passes through as it is");
        assert_eq!(layer.handle().state(), State::Closed);
    }
    let (answer, asked) = oneshot::channel();
    answer.send(Err(Rejection::AttemptTimeout { limit: MILLISECOND }.into())).unwrap();
    assert!(service.ready().await.unwrap().call(Script::Answer(asked)).await.is_err());
    assert_eq!(layer.handle().state(), State::Open, "but a timeout is");
}

#[tokio::test(start_paused = true)]
async fn the_answers_retry_after_lengthens_the_open_time() {
    let layer = layer(&fail_once());
    let answer: fn(Request<()>) -> Ready<Answer> =
        |_| ready(Ok(Response::builder().status(503).header("retry-after", "90").body(()).unwrap()));
    assert!(layer.layer(service_fn(answer)).oneshot(ask(503)).await.is_ok());
    assert_eq!(layer.handle().until_probe(), Some(Duration::from_secs(90)));
}

#[tokio::test(start_paused = true)]
async fn a_429_fails_a_probe_but_opens_nothing_by_itself() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (echo(&layer), layer.handle());
    for _ in 0..20 {
        assert!(service.ready().await.unwrap().call(ask(429)).await.is_ok());
    }
    assert_eq!(handle.state(), State::Closed);
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(service.ready().await.unwrap().call(ask(429)).await.is_ok());
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn forced_states_hold_whatever_the_answers() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (echo(&layer), layer.handle());
    handle.force_open();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(service.availability(), Availability::Unavailable { retry_after: None });
    assert_eq!(refusal(service.ready().await.unwrap().call(ask(200)).await), Some(None));
    for (command, state) in
        [(BreakerHandle::disable as fn(&_), State::Disabled), (BreakerHandle::metrics_only, State::MetricsOnly)]
    {
        command(&handle);
        for _ in 0..20 {
            assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
        }
        assert_eq!(handle.state(), state);
    }
    assert_eq!(handle.counts().consecutive_failures, 20);
    handle.reset();
    assert_eq!((handle.state(), handle.counts().consecutive_failures), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn layers_clones_and_services_share_one_circuit_and_fresh_has_its_own() {
    let layer = layer(&fail_once());
    let (mut first, second, other) = (echo(&layer), echo(&layer.clone()), echo(&layer.fresh()));
    let clone = first.clone();
    assert!(first.ready().await.unwrap().call(ask(500)).await.is_ok());
    for shared in [first, second, clone] {
        assert!(refusal(shared.oneshot(ask(200)).await).is_some());
    }
    assert!(other.oneshot(ask(200)).await.is_ok());
}

#[tokio::test]
async fn only_the_readied_instance_is_called_and_a_refusal_keeps_its_place() {
    let layer = layer(&fail_once());
    let limited = tower::limit::ConcurrencyLimit::new(echo_inner(), 1);
    let mut service = layer.layer(limited.clone());
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    assert!(refusal(service.ready().await.unwrap().call(ask(200)).await).is_some());
    let mut other = task::spawn(limited.clone().ready_oneshot());
    assert!(other.poll().is_pending(), "the readied instance keeps its place for the next call");
    drop(service);
    assert!(other.is_woken() && other.poll().is_ready(), "and gives it back when it is dropped");
}

#[tokio::test(start_paused = true)]
async fn changes_and_refusals_are_told_in_order() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        log.lock().unwrap().push(match event {
            Event::BreakerChanged { name, from, to, retry_after } => {
                format!("{name}: {from} to {to} {:?}", retry_after.map(|wait| wait.as_secs()))
            }
            Event::BreakerRefused { name } => format!("{name}: refused"),
            other => format!("{other:?}"),
        });
    });
    let layer = layer(&fail_once()).observers(observers);
    let (mut service, handle) = (echo(&layer), layer.handle());
    for status in [200, 500, 200] {
        let _ = service.ready().await.unwrap().call(ask(status)).await;
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = service.ready().await.unwrap().call(ask(200)).await;
    handle.reset();
    assert_eq!(
        *told.lock().unwrap(),
        ["a: closed to open Some(60)", "a: refused", "a: open to half_open None", "a: half_open to closed None"]
    );
    let transitions = handle.transitions();
    assert_eq!(transitions.iter().map(|t| t.to).collect::<Vec<_>>(), [State::Open, State::HalfOpen, State::Closed]);
    assert_eq!(transitions[1].at - transitions[0].at, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_drive_the_breaker() {
    let handle = Arc::new(OnceLock::<BreakerHandle>::new());
    let (own, told) = (Arc::clone(&handle), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            log.lock().unwrap().push((*from, *to));
            if *to == "open" {
                own.get().unwrap().disable();
            }
        }
    });
    let layer = layer(&fail_once()).observers(observers);
    handle.set(layer.handle()).unwrap();
    assert!(echo(&layer).oneshot(ask(500)).await.is_ok());
    assert_eq!(layer.handle().state(), State::Disabled);
    assert_eq!(*told.lock().unwrap(), [("closed", "open"), ("open", "disabled")]);
}

#[test]
fn many_threads_leave_observers_with_the_last_state() {
    let told = Arc::new(Mutex::new("closed"));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            let mut last = log.lock().unwrap();
            assert_eq!(*last, *from, "each change starts where the one before ended");
            *last = *to;
        }
    });
    let handle = layer(&fail_once()).observers(observers).handle();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    handle.force_open();
                    handle.reset();
                    handle.disable();
                }
            });
        }
    });
    assert_eq!(*told.lock().unwrap(), handle.state().as_str());
}

#[test]
fn more_changes_than_are_kept_still_end_in_the_last_state() {
    let handle = Arc::new(OnceLock::<BreakerHandle>::new());
    let (own, told) = (Arc::clone(&handle), Arc::new(Mutex::new(vec!["closed"])));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            let first = log.lock().unwrap().len() == 1;
            assert_eq!(log.lock().unwrap().last(), Some(from), "each change starts where the one before ended");
            log.lock().unwrap().push(to);
            if first {
                for _ in 0..33 {
                    own.get().unwrap().reset();
                    own.get().unwrap().disable();
                    own.get().unwrap().metrics_only();
                }
            }
        }
    });
    let layer = layer(&fail_once()).observers(observers);
    handle.set(layer.handle()).unwrap();
    layer.handle().force_open();
    assert_eq!(told.lock().unwrap().last(), Some(&"metrics_only"));
    assert_eq!(told.lock().unwrap().len(), 2 + 32, "so many are kept");
}

#[tokio::test(start_paused = true)]
async fn nothing_needs_to_be_clone_and_futures_can_be_sent() {
    struct Sealed;
    fn sendable<F: Future + Send>(future: F) -> F {
        future
    }
    let answer: fn(Sealed) -> Ready<Result<Sealed, std::io::Error>> = |sealed| ready(Ok(sealed));
    let mut service = layer(&config()).for_any().layer(service_fn(answer));
    assert!(sendable(service.ready().await.unwrap().call(Sealed)).await.is_ok());
    fn shareable<T: Send + Sync>(_: &T) {}
    shareable(&service);
}

#[test]
fn configuration_errors_name_the_field() {
    let bad = [
        ("failure_rate = 0.0", "failure_rate"),
        ("failure_rate = 1.5", "failure_rate"),
        ("failure_rate = nan", "failure_rate"),
        ("slow_call_rate = 0.5", "slow_call"),
        ("slow_call = '0s'", "slow_call"),
        ("slow_call_rate = -1.0\nslow_call = '1s'", "slow_call_rate"),
        ("window = '10s'\nwindow_calls = 10", "window"),
        ("window = '1ms'", "window"),
        ("window_calls = 0", "window_calls"),
        ("window_calls = 2000000", "window_calls"),
        ("minimum_calls = 0", "minimum_calls"),
        ("failure_rate = 0.5\nminimum_calls = 101", "minimum_calls"),
        ("open_for = '0s'", "open_for"),
        ("open_growth = 0.5", "open_growth"),
        ("open_growth = inf", "open_growth"),
        ("open_growth = 2.0\nopen_for = '11m'", "max_open_for"),
        ("half_open_probes = 0", "half_open_probes"),
        ("success_threshold = 2", "success_threshold"),
        ("success_threshold = 0", "success_threshold"),
        ("half_open_for = '0s'", "half_open_for"),
    ];
    for (text, field) in bad {
        let config: CircuitBreakerConfig = toml::from_str(text).unwrap();
        assert_eq!(CircuitBreakerLayer::new(&config).unwrap_err().field(), field, "{text}");
    }
    assert!(toml::from_str::<CircuitBreakerConfig>("treshold = 5").is_err(), "an unknown field");
    let default = CircuitBreakerConfig::default();
    assert_eq!(toml::from_str::<CircuitBreakerConfig>("").unwrap(), default);
    assert_eq!(toml::from_str::<CircuitBreakerConfig>(&toml::to_string(&default).unwrap()).unwrap(), default);
    assert!(default.validate().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_sick_tenant_opens_no_circuit_but_its_own() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| log.lock().unwrap().push(format!("{event:?}")));
    let circuits = KeyedBreakers::new(&fail_once(), 100, "a", observers).unwrap();
    let layer =
        KeyedCircuitBreakerLayer::new(circuits.clone(), |request: &Request<()>| request.uri().path().to_owned());
    // Panics when it is called without having been polled ready.
    let service = layer.layer(tower::limit::ConcurrencyLimit::new(echo_inner(), 1));
    assert!(service.clone().oneshot(ask(500)).await.is_ok());
    for _ in 0..20 {
        assert!(service.clone().oneshot(ask(200)).await.is_ok());
    }
    assert_eq!(refusal(service.clone().oneshot(ask(500)).await), Some(Some(Duration::from_secs(60))));
    assert_eq!(circuits.find(&"/500".to_owned()).unwrap().state(), State::Open);
    assert_eq!(circuits.find(&"/200".to_owned()).unwrap().state(), State::Closed);
    assert_eq!(*told.lock().unwrap(), ["BreakerRefused { name: \"a\" }"], "names of keys would be series without end");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(service.oneshot(ask(500)).await.is_ok(), "a probe");
}
