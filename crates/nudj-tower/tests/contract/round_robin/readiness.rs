//! Endpoints that are not ready at once, and what a dropped call gives back.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use nudj_tower::round_robin::{Endpoint, Plain, PlainLayer, RoundRobinLayer};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, buffer::Buffer, limit::ConcurrencyLimit, limit::ConcurrencyLimitLayer, service_fn};

use super::*;

fn config() -> RoundRobinConfig {
    RoundRobinConfig::default()
}

#[test]
fn is_ready_at_once_and_asks_nobody() {
    let fakes = [fake("a")];
    let mut service = over(&fakes);
    let mut ready = task::spawn(std::future::poll_fn(|cx| Service::<Request<()>>::poll_ready(&mut service, cx)));
    assert_ready!(ready.poll()).unwrap();
    assert_eq!(fakes[0].told.lock().ready_polls, 0);
}

#[test]
fn a_ready_endpoint_is_asked_once_and_called() {
    let fakes = [fake("a")];
    let mut answer = task::spawn(over(&fakes).call(Request::new(())));
    assert_ready!(answer.poll()).unwrap();
    let told = fakes[0].told.lock();
    assert_eq!((told.ready_polls, told.calls), (1, 1));
}

#[test]
fn an_endpoint_that_cannot_become_ready_hands_the_call_to_the_next() {
    let fakes = [fake("a"), fake("b")];
    let service = over(&fakes);
    fakes[0].tell(|a| a.broken = true);
    let (request, context) = request();
    let mut answer = task::spawn(service.clone().call(request));
    assert_eq!(assert_ready!(answer.poll()).unwrap().into_body(), "b");
    assert_eq!(context.tries(), 1);
    fakes[1].tell(|b| b.broken = true);
    let mut answer = task::spawn(service.clone().call(Request::new(())));
    let error = assert_ready!(answer.poll()).unwrap_err();
    assert!(error.to_string().ends_with("is broken"), "{error}");
    let views = service.handle().endpoints();
    assert_eq!(views.iter().map(|view| view.failures).collect::<Vec<_>>(), [2, 1]);
    assert!(views.iter().all(|view| view.in_flight == 0));
}

#[tokio::test]
async fn a_call_waits_for_its_endpoint_and_each_drop_gives_the_permit_back() {
    let hung = service_fn(|()| pending::<Result<(), BoxError>>());
    let layer = RoundRobinLayer::new(&config(), [Endpoint::new("a")], |_: &Endpoint| {
        (PlainLayer, tower::limit::GlobalConcurrencyLimitLayer::new(1))
    });
    let layer = layer.unwrap().for_any();
    let service = layer.layer(hung);
    let in_flight = || layer.handle().endpoints()[0].in_flight;

    let mut first = task::spawn(service.clone().call(()));
    assert_pending!(first.poll());
    let mut second = task::spawn(service.clone().call(()));
    let mut third = task::spawn(service.clone().call(()));
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!(in_flight(), 1, "who waits is not on its way");

    drop(second);
    assert!(!third.is_woken());
    drop(first);
    assert!(third.is_woken(), "the one that waits is woken, not the one that is gone");
    assert_eq!(in_flight(), 0);
    assert_pending!(third.poll());
    assert_eq!(in_flight(), 1);
    drop(third);
    assert_eq!(in_flight(), 0);
    let mut last = task::spawn(service.clone().call(()));
    assert_pending!(last.poll());
    assert_eq!(in_flight(), 1, "no permit was lost");
}

#[tokio::test]
async fn a_call_that_was_never_polled_gives_its_permit_back() {
    let hung = service_fn(|()| pending::<Result<(), BoxError>>());
    let limited = ConcurrencyLimit::with_semaphore(hung, Arc::new(tokio::sync::Semaphore::new(1)));
    let service = RoundRobin::new(&config(), [("a", 1, Plain(limited))]).unwrap().for_any();
    for _ in 0..3 {
        drop(service.clone().call(()));
    }
    assert_eq!(service.handle().endpoints()[0].in_flight, 0);
    let mut call = task::spawn(service.clone().call(()));
    assert_pending!(call.poll());
    assert_eq!(service.handle().endpoints()[0].in_flight, 1);
}

#[tokio::test]
async fn a_breaker_that_opens_while_the_call_waits_sends_it_to_the_next() {
    /// Becomes ready when told to.
    #[derive(Clone)]
    struct Slow(Fake, Arc<Mutex<(bool, Option<std::task::Waker>)>>);
    impl Service<Request<()>> for Slow {
        type Response = Response<&'static str>;
        type Error = BoxError;
        type Future = Ready<Answer>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            let mut gate = self.1.lock();
            if gate.0 {
                return Poll::Ready(Ok(()));
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            self.0.call(request)
        }
    }
    impl Available for Slow {
        fn availability(&self) -> Availability {
            self.0.availability()
        }
    }
    impl TryCall<Request<()>> for Slow {
        fn try_call(&mut self, request: Request<()>) -> Result<Self::Future, Refused<Request<()>>> {
            self.0.try_call(request)
        }
    }

    let gate = Arc::new(Mutex::new((false, None)));
    let endpoints = ["a", "b"].map(|name| (name, 1, Slow(fake(name), Arc::clone(&gate))));
    let a = endpoints[0].2.0.clone();
    let mut service = RoundRobin::new(&config(), endpoints).unwrap();
    let (request, context) = request();
    let mut call = task::spawn(service.call(request));
    assert_pending!(call.poll());
    a.tell(|a| (a.open, a.lost_race) = (Some(SECOND), Some(SECOND)));
    let waker = {
        let mut gate = gate.lock();
        gate.0 = true;
        gate.1.take().unwrap()
    };
    waker.wake();
    assert!(call.is_woken(), "the future's own waker was left there");
    assert_eq!(assert_ready!(call.poll()).unwrap().into_body(), "b");
    assert_eq!(context.tries(), 1);
}

#[tokio::test]
async fn holds_over_a_buffer_and_a_limit() {
    let answer = service_fn(|number: u32| async move {
        tokio::task::yield_now().await;
        Ok::<_, BoxError>(number)
    });
    let buffered = |name| (name, 1, Plain(Buffer::new(ConcurrencyLimitLayer::new(1).layer(answer), 1)));
    let service = RoundRobin::new(&config(), [buffered("a"), buffered("b")]).unwrap().for_any();
    let all = (0..20).map(|number| tokio::spawn(service.clone().oneshot(number)));
    for (number, task) in all.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap() as usize, number);
    }
    assert_eq!(service.handle().endpoints().iter().map(|view| view.calls).collect::<Vec<_>>(), [10, 10]);
}

#[tokio::test]
async fn a_call_under_way_is_polled_only_when_something_happened() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counting = Plain(service_fn({
        let polls = Arc::clone(&polls);
        move |()| {
            let polls = Arc::clone(&polls);
            std::future::poll_fn(move |_| {
                polls.fetch_add(1, SeqCst);
                Poll::<Result<(), BoxError>>::Pending
            })
        }
    }));
    let mut service = RoundRobin::new(&config(), [("a", 1, counting)]).unwrap().for_any();
    let mut call = task::spawn(service.call(()));
    assert_pending!(call.poll());
    assert!(!call.is_woken());
    assert_eq!(polls.load(SeqCst), 1);
}

#[test]
fn a_panic_while_an_endpoint_becomes_ready_is_its_failure() {
    /// Panics when it is asked, at once or the second time.
    #[derive(Clone)]
    struct Panics(bool);
    impl Service<()> for Panics {
        type Response = ();
        type Error = BoxError;
        type Future = Ready<Result<(), BoxError>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if std::mem::replace(&mut self.0, true) { panic!("not ready") } else { Poll::Pending }
        }
        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let panics = |call: &mut dyn FnMut()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    for at_once in [true, false] {
        let mut service = RoundRobin::new(&config(), [("a", 1, Plain(Panics(at_once)))]).unwrap().for_any();
        if at_once {
            panics(&mut || drop(service.call(())));
        } else {
            let mut call = task::spawn(service.call(()));
            panics(&mut || drop(call.poll()));
            drop(call);
        }
        let seen = service.handle().endpoints();
        assert_eq!((seen[0].calls, seen[0].failures, seen[0].in_flight), (1, 1, 0), "{at_once}");
    }
}
