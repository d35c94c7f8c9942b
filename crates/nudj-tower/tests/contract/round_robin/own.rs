//! A service that is called again and again, as a stack that is kept from call to call is. The other tests call clones, each once.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
};

use nudj_tower::round_robin::Endpoint;
use tokio_test::{assert_pending, task};
use tower::{limit::ConcurrencyLimit, service_fn};

use super::*;

/// Who answers `count` calls on one and the same service.
async fn answers(service: &mut RoundRobin<Fake>, count: usize) -> String {
    let mut names = String::new();
    for _ in 0..count {
        names.push_str(service.call(Request::new(())).await.map_or("-", Response::into_body));
    }
    names
}

#[tokio::test]
async fn turns_go_on_from_call_to_call_and_with_those_of_other_clones() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let mut service = over(&fakes).reserves_nothing();
    assert_eq!(answers(&mut service, 7).await, "abcabca");
    let mut other = service.clone();
    assert_eq!(answers(&mut other, 1).await, "b");
    assert_eq!(answers(&mut service, 2).await, "ca");
    assert_eq!(answers(&mut other, 3).await, "bca");
    assert!(fakes.iter().all(|fake| fake.calls() == fake.told.lock().ready_polls), "each was asked before its call");
}

#[tokio::test]
async fn who_is_cut_off_broken_or_lost_a_race_is_passed_over() {
    let fakes = [fake("a"), fake("b"), fake("c")];
    let mut service = over(&fakes).reserves_nothing();
    assert_eq!(answers(&mut service, 3).await, "abc");
    fakes[0].tell(|a| a.open = Some(SECOND));
    assert_eq!(answers(&mut service, 4).await, "bcbc");
    fakes[1].tell(|b| b.lost_race = Some(SECOND));
    assert_eq!(answers(&mut service, 2).await, "cc");
    fakes[2].tell(|c| c.broken = true);
    assert_eq!(answers(&mut service, 1).await, "-");
    fakes[0].tell(|a| a.open = None);
    fakes[1].tell(|b| b.lost_race = None);
    fakes[2].tell(|c| c.broken = false);
    let mut names: Vec<char> = answers(&mut service, 3).await.chars().collect();
    names.sort_unstable();
    assert_eq!(names, ['a', 'b', 'c'], "and is back");
}

#[tokio::test]
async fn a_change_of_the_list_is_seen_with_the_next_call_and_who_was_taken_out_is_let_go() {
    let fakes = [fake("a"), fake("b")];
    let mut service = over(&fakes).reserves_nothing();
    assert_eq!(answers(&mut service, 4).await, "abab");
    let handle = service.handle();
    assert!(handle.remove("a"));
    assert_eq!(answers(&mut service, 2).await, "bb");
    assert_eq!(Arc::strong_count(&fakes[0].told), 2, "the test's, and the one to be cloned should it come back");
    handle.add(Endpoint::new("a")).unwrap();
    let mut names: Vec<char> = answers(&mut service, 2).await.chars().collect();
    names.sort_unstable();
    assert_eq!(names, ['a', 'b']);
    assert_eq!(fakes[0].calls(), 3);
}

#[tokio::test]
async fn one_call_on_a_clone_makes_no_instances() {
    let fakes = [fake("a")];
    let service = over(&fakes).reserves_nothing();
    let before = Arc::strong_count(&fakes[0].told);
    let mut clone = service.clone();
    assert_eq!(answers(&mut clone, 1).await, "a");
    assert_eq!(Arc::strong_count(&fakes[0].told), before);
    assert_eq!(answers(&mut clone, 5).await, "aaaaa");
    assert_eq!(Arc::strong_count(&fakes[0].told), before + 1);
    drop(clone);
    assert_eq!(Arc::strong_count(&fakes[0].told), before);
}

/// Lets everything through, or nothing, once it is ready.
#[derive(Clone)]
struct Gated<S> {
    inner: S,
    refuses: Arc<Mutex<bool>>,
}

impl<S: Service<Req>, Req> Service<Req> for Gated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.inner.call(request)
    }
}

impl<S: Send + Sync + 'static> Available for Gated<S> {
    fn availability(&self) -> Availability {
        Availability::Available
    }
}

impl<S: Service<Req> + Send + Sync + 'static, Req> TryCall<Req> for Gated<S> {
    fn try_call(&mut self, request: Req) -> Result<S::Future, Refused<Req>> {
        if *self.refuses.lock() {
            let rejection = Rejection::CircuitOpen { endpoint: None, retry_after: None };
            return Err(Refused { request, rejection });
        }
        Ok(self.inner.call(request))
    }
}

/// Takes no call, though what is below is ready for one.
#[derive(Clone)]
struct Closed<S>(S);

impl<S: Service<(), Response = (), Error = BoxError>> Service<()> for Closed<S> {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Err("closed".into()))
    }
}

#[tokio::test]
async fn without_a_promise_nothing_is_kept_that_could_hold_a_permit() {
    let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
    let hung = service_fn(|()| pending::<Result<(), BoxError>>());
    let closed = Closed(ConcurrencyLimit::with_semaphore(hung, Arc::clone(&semaphore)));
    let gated = Gated { inner: closed, refuses: Arc::default() };
    let mut service = RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, gated)]).unwrap().for_any();
    for _ in 0..3 {
        assert!(service.call(()).await.is_err());
        assert_eq!(semaphore.available_permits(), 1);
    }
}

#[tokio::test]
async fn an_instance_that_was_ready_and_refused_holds_no_permit() {
    for promised in [false, true] {
        let semaphore = Arc::new(tokio::sync::Semaphore::new(1));
        let endpoint = || {
            let hung = service_fn(|()| pending::<Result<(), BoxError>>());
            let inner = ConcurrencyLimit::with_semaphore(hung, Arc::clone(&semaphore));
            Gated { inner, refuses: Arc::default() }
        };
        let (first, second) = (endpoint(), endpoint());
        let refuses = Arc::clone(&first.refuses);
        let mut service =
            RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, first), ("b", 1, second)]).unwrap().for_any();
        if promised {
            service = service.reserves_nothing();
        }
        for refused in [false, false, true, true, false, true] {
            *refuses.lock() = refused;
            let mut call = task::spawn(service.call(()));
            assert_pending!(call.poll());
            let in_flight: u64 = service.handle().endpoints().iter().map(|endpoint| endpoint.in_flight).sum();
            assert_eq!(in_flight, 1, "the next endpoint has the permit that the first one gave back");
            drop(call);
            assert_eq!(semaphore.available_permits(), 1);
        }
    }
}

#[tokio::test]
async fn an_instance_that_panicked_is_not_called_again() {
    #[derive(Clone, Default)]
    struct Fragile {
        is_broken: bool,
    }
    impl Service<bool> for Fragile {
        type Response = ();
        type Error = BoxError;
        type Future = Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, panics: bool) -> Self::Future {
            assert!(!std::mem::replace(&mut self.is_broken, true), "it was broken");
            assert!(!panics, "as it was told");
            self.is_broken = false;
            ready(Ok(()))
        }
    }
    let gated = Gated { inner: Fragile::default(), refuses: Arc::default() };
    let service = RoundRobin::new(&RoundRobinConfig::default(), [("a", 1, gated)]).unwrap();
    let mut service = service.for_any().reserves_nothing();
    for panics in [false, false, true, false, true, false] {
        let called = catch_unwind(AssertUnwindSafe(|| service.call(panics)));
        assert_eq!(called.is_err(), panics);
    }
    assert_eq!(service.handle().endpoints()[0].failures, 2);
}
