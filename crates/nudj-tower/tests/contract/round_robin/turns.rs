//! Who gets a call.

use nudj_tower::{
    Availability, Available,
    observe::{Event, Observers},
    round_robin::{Endpoint, RoundRobinLayer},
};
use tower::Layer;

use super::*;

#[tokio::test]
async fn the_order_is_strict_and_clones_share_it() {
    let service = over(&[fake("a"), fake("b"), fake("c")]);
    assert_eq!(calls(&service, 4).await, "abca");
    assert_eq!(calls(&service.clone(), 3).await, "bca");
}

#[tokio::test]
async fn weights_are_kept() {
    let endpoints = [("a", 3, fake("a")), ("b", 1, fake("b"))];
    let service = RoundRobin::new(&RoundRobinConfig::default(), endpoints).unwrap();
    assert_eq!(calls(&service, 8).await, "aabaaaba");
}

#[tokio::test]
async fn an_open_endpoint_is_skipped_and_its_neighbour_gets_no_second_share() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let service = over(&fakes);
    fakes[1].tell(|b| b.open = Some(SECOND));
    assert_eq!(calls(&service, 4).await, "acac");
    fakes[1].tell(|b| b.open = None);
    assert_eq!(calls(&service, 3).await, "abc");
}

#[tokio::test]
async fn when_all_are_open_the_soonest_hint_is_told_and_nobody_is_asked() {
    let fakes = [fake("a"), fake("b")];
    let service = over(&fakes);
    fakes[0].tell(|a| a.open = Some(3 * SECOND));
    fakes[1].tell(|b| b.open = Some(2 * SECOND));
    let all_open = Rejection::CircuitOpen { endpoint: None, retry_after: Some(2 * SECOND) };
    assert_eq!(rejection(&service).await, all_open);
    assert!(fakes.iter().all(|fake| fake.told.lock().ready_polls == 0));
    let handle = service.handle();
    assert_eq!(handle.availability(), Availability::Unavailable { retry_after: Some(2 * SECOND) });
    fakes[0].tell(|a| a.open = None);
    assert_eq!(handle.availability(), Availability::Available);
}

#[tokio::test]
async fn an_empty_list_is_told_as_such() {
    let service = over(&[]);
    assert_eq!(rejection(&service).await, Rejection::NoEndpoint);
    assert_eq!(service.handle().availability(), Availability::Available, "so that the call is told");
}

#[tokio::test]
async fn endpoints_that_the_call_has_tried_come_last_and_one_alone_is_tried_again() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let service = over(&fakes);
    let (request, context) = request();
    let mut names = String::new();
    let mut untried = vec![];
    for _ in 0..5 {
        names.push_str(service.clone().oneshot(request.clone()).await.unwrap().body());
        untried.push(context.untried_endpoints());
        assert_eq!(context.endpoint().as_deref(), names.get(names.len() - 1..));
    }
    assert_eq!(untried, [2, 1, 0, 0, 0]);
    assert_eq!(context.tries(), 5);
    let mut first: Vec<_> = names[..3].chars().collect();
    first.sort_unstable();
    assert_eq!(first, ['a', 'b', 'c'], "{names}");

    let alone = over(&[fake("a")]);
    let (request, _) = self::request();
    for _ in 0..2 {
        assert_eq!(alone.clone().oneshot(request.clone()).await.unwrap().into_body(), "a");
    }
}

#[tokio::test]
async fn open_endpoints_are_not_counted_as_left() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let service = over(&fakes);
    fakes[1].tell(|b| b.open = Some(SECOND));
    let (request, context) = request();
    service.clone().oneshot(request.clone()).await.unwrap();
    assert_eq!(context.untried_endpoints(), 1);
    fakes[0].tell(|a| a.open = Some(SECOND));
    fakes[2].tell(|c| c.open = Some(SECOND));
    service.clone().oneshot(request).await.unwrap_err();
    assert_eq!(context.untried_endpoints(), 0, "or retry would think that there is somewhere to go");
}

#[tokio::test]
async fn a_sick_endpoint_does_not_get_every_calls_first_try() {
    let fakes = [fake("a"), fake("b")];
    let service = over(&fakes);
    fakes[0].tell(|a| a.fails = true);
    let mut first = String::new();
    for _ in 0..6 {
        let (request, _) = request();
        let answer = service.clone().oneshot(request.clone()).await.unwrap();
        first.push_str(answer.body());
        if answer.status() == 500 {
            assert_eq!(*service.clone().oneshot(request).await.unwrap().body(), "b");
        }
    }
    assert_eq!(first, "ababab");
}

#[tokio::test]
async fn a_lost_race_for_the_only_endpoint_is_a_refusal() {
    let alone = [fake("a")];
    let service = over(&alone);
    alone[0].tell(|a| a.lost_race = Some(SECOND));
    let (request, context) = request();
    let error = service.clone().oneshot(request).await.unwrap_err();
    let refused = Rejection::CircuitOpen { endpoint: None, retry_after: Some(SECOND) };
    assert_eq!(Rejection::find(&*error), Some(&refused));
    assert_eq!((alone[0].calls(), context.tries()), (0, 0));
}

#[tokio::test]
async fn a_lost_race_goes_to_the_next_endpoint_and_costs_nothing() {
    struct NoClone(u32);
    let fakes = [fake("a"), fake("b")];
    fakes[0].tell(|a| a.lost_race = Some(SECOND));
    let mut request = Request::new(NoClone(7));
    let context = CallContext::get_or_insert(request.extensions_mut());
    assert_eq!(request.body().0, 7);
    assert_eq!(over(&fakes).oneshot(request).await.unwrap().into_body(), "b");
    assert_eq!((context.tries(), context.untried_endpoints(), fakes[0].calls()), (1, 0, 0));
}

#[tokio::test]
async fn when_all_races_are_lost_the_soonest_hint_is_told() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let service = over(&fakes);
    fakes[0].tell(|a| a.lost_race = Some(4 * SECOND));
    fakes[1].tell(|b| b.open = Some(6 * SECOND));
    fakes[2].tell(|c| c.lost_race = Some(5 * SECOND));
    let all_open = Rejection::CircuitOpen { endpoint: None, retry_after: Some(4 * SECOND) };
    assert_eq!(rejection(&service).await, all_open);
    assert!(service.handle().endpoints().iter().all(|view| view.calls == 0 && view.in_flight == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_differ_by_at_most_one_after_concurrent_calls() {
    for sick in [None, Some(2)] {
        let fakes = [fake("a"), fake("b"), fake("c"), fake("d"), fake("e")];
        let service = over(&fakes);
        if let Some(sick) = sick {
            fakes[sick].tell(|fake| fake.open = Some(SECOND));
        }
        let tasks = (0..7).map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..501 {
                    call(&service).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let counts: Vec<_> = fakes.iter().map(Fake::calls).filter(|count| *count > 0).collect();
        assert_eq!(counts.iter().sum::<u32>(), 7 * 501);
        assert_eq!(counts.len(), 5 - usize::from(sick.is_some()));
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        let seen: Vec<_> =
            service.handle().endpoints().iter().map(|view| view.calls).filter(|calls| *calls > 0).collect();
        assert_eq!(seen, counts.iter().map(|count| u64::from(*count)).collect::<Vec<_>>());
    }
}

/// Makes fakes, and counts how often it was asked to.
fn layers(made: &Arc<Mutex<Vec<String>>>) -> impl Fn(&Endpoint) -> FakeLayer + Send + Sync + use<> {
    let made = Arc::clone(made);
    move |endpoint| {
        made.lock().push(endpoint.name().to_string());
        FakeLayer(fake(if &**endpoint.name() == "a" { "a" } else { "b" }))
    }
}

#[derive(Clone)]
struct FakeLayer(Fake);

impl<S> Layer<S> for FakeLayer {
    type Service = Fake;

    fn layer(&self, _: S) -> Fake {
        self.0.clone()
    }
}

#[tokio::test]
async fn services_of_one_layer_share_turns_counts_and_the_layers_of_each_endpoint() {
    let made = Arc::default();
    let endpoints = [Endpoint::new("a"), Endpoint::new("b")];
    let layer = RoundRobinLayer::new(&RoundRobinConfig::default(), endpoints, layers(&made)).unwrap();
    let (one, other) = (layer.layer(()), layer.clone().layer(()));
    assert_eq!((call(&one).await, call(&other).await, call(&one).await), ("a", "b", "a"));
    assert_eq!(*made.lock(), ["a", "b"], "a breaker made per service would never open");
    assert_eq!(layer.handle().endpoints()[0].calls, 2);

    let fresh = layer.fresh();
    assert_eq!(call(&fresh.layer(())).await, "a");
    assert_eq!(fresh.handle().endpoints()[0].calls, 1);
    assert_eq!(made.lock().len(), 4);
}

#[tokio::test]
async fn each_try_is_told_to_the_observer() {
    let told = Arc::new(Mutex::new(vec![]));
    let seen = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::AttemptEnded { endpoint, outcome } = event {
            seen.lock().push(format!("{endpoint} {outcome:?}"));
        }
    });
    let layer =
        RoundRobinLayer::new(&RoundRobinConfig::default(), [Endpoint::new("a")], |_: &Endpoint| FakeLayer(fake("a")));
    let layer = layer.unwrap().observers(observers);
    let service = layer.layer(());
    call(&service).await;
    drop(service.clone().call(Request::new(())));
    assert_eq!(*told.lock(), ["a Some(Success)", "a None"]);
}

#[test]
fn nothing_needs_clone_and_send_and_sync_are_kept() {
    struct NoClone;
    fn check<T: Send + Sync + 'static>(_: &T) {}
    let mut service = over(&[fake("a")]);
    check(&service);
    check(&service.handle());
    check(&service.call(Request::new(NoClone)));
}

#[test]
fn bad_lists_are_refused_by_name() {
    let refused = |endpoints: Vec<(&'static str, u32, Fake)>| {
        RoundRobin::new(&RoundRobinConfig::default(), endpoints).unwrap_err().to_string()
    };
    let error = refused(vec![("a", 0, fake("a"))]);
    assert!(error.starts_with("endpoints[0]") && error.contains("weight"), "{error}");
    let error = refused(vec![("a", 1, fake("a")), ("a", 1, fake("a"))]);
    assert!(error.starts_with("endpoints[1]") && error.contains("already"), "{error}");
    assert!(refused(vec![("a", u32::MAX, fake("a"))]).contains("10000"));
}

/// Ids were unique in one balancer only, though a call's context goes through all that it passes: what was tried in one looked tried in the next.
#[tokio::test]
async fn what_a_call_tried_in_one_balancer_is_untried_in_another() {
    let (one, another) = (over(&[fake("a"), fake("b"), fake("c")]), over(&[fake("d"), fake("e"), fake("f")]));
    let context = CallContext::new();
    let request = || {
        let mut request = Request::new(());
        request.extensions_mut().insert(context.clone());
        request
    };
    one.oneshot(request()).await.unwrap();
    another.oneshot(request()).await.unwrap();
    assert_eq!((context.tries(), context.untried_endpoints()), (2, 2));
}
