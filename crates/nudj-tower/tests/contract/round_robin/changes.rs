//! The list changes while calls go on.

use std::{future::pending, sync::atomic::AtomicU32};

use nudj_tower::round_robin::{Endpoint, Origin, Plain, RoundRobinLayer};
use tokio_test::{assert_pending, task};
use tower::{Layer, service_fn};

use super::*;

/// Answers with the endpoint's name, how many layers were made before, and in capitals when its service was made a second time.
#[derive(Clone)]
struct Named(String, Arc<AtomicU32>);

impl Named {
    fn maker() -> impl Fn(&Endpoint) -> Self + Send + Sync + 'static {
        let made = AtomicU32::new(0);
        move |endpoint| {
            let number = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Self(format!("{}{number}", endpoint.name()), Arc::default())
        }
    }
}

impl<S> Layer<S> for Named {
    type Service = Plain<NamedService>;

    fn layer(&self, _: S) -> Self::Service {
        let again = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
        Plain(NamedService(if again { self.0.to_uppercase() } else { self.0.clone() }))
    }
}

#[derive(Clone)]
struct NamedService(String);

impl Service<()> for NamedService {
    type Response = String;
    type Error = BoxError;
    type Future = Ready<Result<String, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

async fn names<S: Service<(), Response = String, Error = BoxError> + Clone>(service: &S, count: usize) -> Vec<String> {
    let mut names = vec![];
    for _ in 0..count {
        names.push(service.clone().oneshot(()).await.unwrap());
    }
    names
}

fn named(names: &[&str]) -> Vec<Endpoint> {
    names.iter().map(|name| Endpoint::new(*name)).collect()
}

#[tokio::test]
async fn endpoints_come_and_go_and_what_is_known_of_the_others_stays() {
    let layer =
        RoundRobinLayer::new(&RoundRobinConfig::default(), named(&["a", "b"]), Named::maker()).unwrap().for_any();
    let (handle, service, other) = (layer.handle(), layer.layer(()), layer.layer(()));
    assert_eq!(names(&service, 3).await, ["a0", "b1", "a0"]);

    handle.add(Endpoint::new("c")).unwrap();
    assert_eq!(names(&service, 3).await, ["b1", "c2", "a0"], "the turns go on");
    assert_eq!(
        names(&other, 3).await,
        ["B1", "C2", "A0"],
        "the other service learned it too, and no layer was made twice"
    );

    assert!(handle.remove("b") && !handle.remove("b"));
    assert_eq!(names(&service, 2).await, ["c2", "a0"]);
    let seen = handle.endpoints();
    assert_eq!(seen.iter().map(|view| (&*view.name, view.calls)).collect::<Vec<_>>(), [("a", 5), ("c", 3)]);

    handle.add(Endpoint::new("b")).unwrap();
    assert_eq!(handle.endpoints()[2].calls, 0, "one that was away is new");
    assert_eq!(names(&service, 3).await, ["c2", "b3", "a0"]);
}

#[tokio::test]
async fn a_whole_list_is_put_in_place_at_once_or_not_at_all() {
    let layer =
        RoundRobinLayer::new(&RoundRobinConfig::default(), named(&["a", "b"]), Named::maker()).unwrap().for_any();
    let (handle, service) = (layer.handle(), layer.layer(()));
    names(&service, 2).await;
    assert!(handle.set(named(&["c", "d", "c"])).is_err());
    assert!(handle.set([Endpoint::new("a").weight(0)]).is_err());
    assert!(handle.add(Endpoint::new("a")).is_err());
    assert_eq!(names(&service, 2).await, ["a0", "b1"], "nothing has changed");
    handle.set([Endpoint::new("b").weight(2), Endpoint::new("c")]).unwrap();
    let mut three = names(&service, 3).await;
    three.sort();
    assert_eq!(three, ["b1", "b1", "c2"]);
    assert_eq!(handle.endpoints()[0].calls, 4, "another weight, the same endpoint");
    handle.set([]).unwrap();
    let error = service.clone().oneshot(()).await.unwrap_err();
    assert_eq!(Rejection::find(&*error), Some(&Rejection::NoEndpoint));
}

#[tokio::test]
async fn another_address_under_the_same_name_is_another_endpoint() {
    let at = |text: &str| Endpoint::at(Origin::parse(text).unwrap());
    let layer =
        RoundRobinLayer::new(&RoundRobinConfig::default(), [at("https://a.cx")], Named::maker()).unwrap().for_any();
    let (handle, service) = (layer.handle(), layer.layer(()));
    assert_eq!(names(&service, 1).await, ["https://a.cx0"]);
    handle.set([at("https://a.cx:443/")]).unwrap();
    assert_eq!(names(&service, 1).await, ["https://a.cx0"], "the same one, written differently");
    handle.set([Endpoint::new("https://a.cx")]).unwrap();
    assert_eq!(names(&service, 1).await, ["https://a.cx1"]);
    assert_eq!(handle.endpoints()[0].calls, 1);
}

#[tokio::test]
async fn a_call_to_an_endpoint_that_is_removed_goes_on() {
    let hung = Plain(service_fn(|()| pending::<Result<(), BoxError>>()));
    let mut service =
        RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, hung), ("b", 1, hung)]).unwrap().for_any();
    let mut call = task::spawn(service.call(()));
    assert_pending!(call.poll());
    let handle = service.handle();
    assert_eq!(handle.endpoints()[0].in_flight, 1);
    assert!(handle.remove("a"));
    assert!(!call.is_woken());
    assert_pending!(call.poll());
    drop(call);
}

#[tokio::test]
async fn a_list_of_given_services_takes_back_what_it_lost_and_nothing_else() {
    let service = over(&[fake("a"), fake("b")]);
    let handle = service.handle();
    assert!(handle.remove("a"));
    assert_eq!(calls(&service, 2).await, "bb");
    let error = handle.add(Endpoint::new("c")).unwrap_err();
    assert!(error.to_string().contains("there is no service for c"), "{error}");
    handle.add(Endpoint::new("a")).unwrap();
    assert_eq!(calls(&service, 2).await.len(), 2);
    assert_eq!(handle.endpoints()[1].calls, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_never_fail_while_the_list_changes() {
    let layer =
        RoundRobinLayer::new(&RoundRobinConfig::default(), named(&["a", "b", "c"]), Named::maker()).unwrap().for_any();
    let (handle, service) = (layer.handle(), layer.layer(()));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..5000 {
                    service.clone().oneshot(()).await.unwrap();
                }
            })
        })
        .collect();
    for number in 0..200 {
        handle.set(named([["a", "b"], ["c", "a"], ["b", "c"]][number % 3].as_slice())).unwrap();
        tokio::task::yield_now().await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(handle.endpoints().iter().all(|view| view.in_flight == 0));
}
