//! Endpoints that come back, and start anew.

use std::{future::pending, sync::OnceLock};

use nudj_tower::{
    observe::{Event, Observers},
    round_robin::{Endpoint, Origin, OriginLayer, OutlierConfig, Plain, PlainLayer, RoundRobinHandle, RoundRobinLayer},
};
use tokio::time::{Instant, advance};
use tokio_test::task;
use tower::{Layer, service_fn};

use super::{
    ejection::{ejected, ejecting},
    *,
};

/// Either rule alone, with how many failures it takes.
fn rules() -> [(OutlierConfig, usize); 2] {
    let defaults = OutlierConfig::default;
    [
        (OutlierConfig { failure_rate: None, ..defaults() }, 5),
        (OutlierConfig { consecutive_failures: 0, ..defaults() }, 20),
    ]
}

/// Hangs at `a`, and answers at `b`.
fn hanging_at_a(
    outlier: OutlierConfig,
) -> RoundRobin<impl TryCall<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone> {
    let endpoint = |hangs: bool| {
        Plain(service_fn(move |_: Request<()>| async move {
            if hangs {
                pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(""))
        }))
    };
    RoundRobin::new(&ejecting(outlier), [("a", 1, endpoint(true)), ("b", 1, endpoint(false))]).unwrap()
}

/// Sends so many calls to each of the two; those that hang are dropped together at their deadline, which is a failure each.
async fn time_out<S>(service: &S, calls: usize)
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone,
{
    time_out_after(SECOND, service, calls).await;
}

async fn time_out_after<S>(wait: Duration, service: &S, calls: usize)
where
    S: Service<Request<()>, Response = Response<&'static str>, Error = BoxError> + Clone,
{
    let calls: Vec<_> = (0..2 * calls)
        .map(|_| {
            let (request, context) = request();
            context.limit_deadline(Instant::now() + wait);
            let mut call = task::spawn(service.clone().call(request));
            let _ = call.poll();
            call
        })
        .collect();
    advance(wait).await;
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn failures_that_arrive_while_it_is_out_do_not_count_toward_the_next_time() {
    for marked_up in [false, true] {
        for (rules, needed) in rules() {
            let service = hanging_at_a(rules);
            let handle = service.handle();
            time_out(&service, 3 * needed).await;
            assert_eq!(ejected(&handle), [Some(30 * SECOND), None]);
            assert_eq!(handle.endpoints()[0].failures, 3 * needed as u64);
            match marked_up {
                true => assert!(handle.mark_up("a")),
                false => advance(30 * SECOND).await,
            }
            time_out(&service, 1).await;
            assert_eq!(ejected(&handle), [None; 2], "the first of {needed}, marked up: {marked_up}");
            time_out(&service, needed - 2).await;
            assert_eq!(ejected(&handle), [None; 2]);
            time_out(&service, 1).await;
            assert_eq!(ejected(&handle), [Some(60 * SECOND), None]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_it_was_marked_up_is_forgotten() {
    for (rules, needed) in rules() {
        let service = hanging_at_a(rules);
        let handle = service.handle();
        time_out(&service, needed - 1).await;
        assert!(handle.mark_down("a") && handle.mark_down("b"));
        time_out(&service, 3 * needed).await;
        assert!(handle.mark_up("a") && handle.mark_up("b"));
        time_out(&service, needed - 1).await;
        assert_eq!(ejected(&handle), [None; 2], "one less than {needed}");
        time_out(&service, 1).await;
        assert_eq!(ejected(&handle), [Some(30 * SECOND), None]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_finds_it_up_again_and_again_hides_no_failure() {
    for (rules, needed) in rules() {
        let service = hanging_at_a(rules);
        let handle = service.handle();
        for _ in 1..needed {
            time_out(&service, 1).await;
            assert!(handle.mark_up("a"));
        }
        time_out(&service, 1).await;
        assert_eq!(ejected(&handle), [Some(30 * SECOND), None]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_use_the_handle() {
    let (handle, told) = (Arc::new(OnceLock::<RoundRobinHandle>::new()), Arc::new(Mutex::new(vec![])));
    let (own, log) = (Arc::clone(&handle), Arc::clone(&told));
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::EndpointEjected { endpoint, until } = event {
            log.lock().push((endpoint.to_string(), until.is_some()));
            if *endpoint == "http://b" && until.is_none() {
                let handle = own.get().unwrap();
                assert!(handle.mark_down("http://a") && handle.mark_up("http://a"));
            }
        }
    });
    let sick = service_fn(|request: Request<()>| async move {
        if request.uri().host() == Some("a") {
            pending::<()>().await;
        }
        Ok::<_, BoxError>(Response::builder().status(500).body("").unwrap())
    });
    let endpoints = ["http://a", "http://b"].map(|text| Endpoint::at(Origin::parse(text).unwrap()));
    let layers = |endpoint: &Endpoint| (PlainLayer, OriginLayer::of(endpoint));
    let layer = RoundRobinLayer::new(&ejecting(OutlierConfig::default()), endpoints, layers).unwrap();
    let layer = layer.observers(observers);
    assert!(handle.set(layer.handle()).is_ok());
    let service = layer.layer(sick);

    // b fails at once, and its time is over when a's calls end: so there is room for a, which whoever judges a sees first.
    time_out_after(30 * SECOND, &service, 5).await;
    let name = |name: &str, out| (format!("http://{name}"), out);
    assert_eq!(*told.lock(), [name("b", true), name("a", true)]);
    ejected(&layer.handle());
    assert_eq!(ejected(&layer.handle()), [None; 2]);
    assert_eq!(told.lock()[2..], [name("b", false), name("a", false)], "b is back, which the observer says of a too");
}
