//! What repeats may add.

use nudj_tower::retry::RetryBudget;

use super::*;

fn with_budget(ratio: f64, min_per_second: u32) -> RetryLayer {
    let budget = BudgetConfig { ratio, min_per_second };
    RetryLayer::new(RetryConfig { budget, base_delay: Duration::from_millis(100), ..RetryConfig::default() }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_fails_sees_a_fifth_more() {
    let server = Server::new([Say::Status(500)]);
    let service = with_budget(0.2, 0).seed(5).layer(server.service());
    let mut calls = Vec::new();
    for _ in 0..20_000 {
        calls.push(tokio::spawn(service.clone().oneshot(get())));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let repeats = server.attempts() - 20_000;
    assert!(repeats <= 4_000, "amplification is at most 1.2: {repeats}");
    assert!(repeats > 3_600, "and what is allowed is used: {repeats}");
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_there_from_the_start_and_no_more() {
    let server = Server::new([Say::Status(500)]);
    let service = with_budget(0.0, 1).layer(server.service());
    for _ in 0..20 {
        service.clone().oneshot(get()).await.unwrap();
    }
    assert_eq!(server.attempts(), 20 + 10);
}

#[tokio::test(start_paused = true)]
async fn both_may_be_nothing() {
    let server = Server::new([Say::Status(500)]);
    call(with_budget(0.0, 0), &server, get()).await.unwrap();
    assert_eq!((server.attempts(), server.start.elapsed()), (1, Duration::ZERO), "and nobody waits for nothing");
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_every_call_is_repeated() {
    let server = Server::new([Say::Status(500)]);
    let layer = with_budget(0.0, 0).without_budget();
    assert!(layer.handle().is_none());
    call(layer, &server, get()).await.unwrap();
    assert_eq!(server.attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn failovers_take_from_it() {
    let server = Server::new([Say::Refused]).endpoints(5);
    let layer = with_budget(2.0, 0);
    call(layer.clone(), &server, get()).await.unwrap_err();
    assert_eq!(server.attempts(), 3);
    assert_eq!(layer.handle().unwrap().left(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_shared_by_what_one_layer_makes_and_by_whom_it_is_given_to() {
    let server = Server::new([Say::Status(500)]);
    let layer = with_budget(0.0, 1);
    for _ in 0..9 {
        layer.layer(server.service()).oneshot(get()).await.unwrap();
    }
    assert_eq!(server.attempts(), 9 + 10, "calling layer() again, as axum does per route, makes no new budget");
    assert_eq!(layer.handle().unwrap().left(), 0);
    let fresh = layer.clone().fresh();
    assert_eq!(fresh.handle().unwrap().left(), 10);
    let shared = RetryBudget::new(BudgetConfig { ratio: 0.0, min_per_second: 0 }).unwrap();
    let server = Server::new([Say::Status(500)]);
    call(fresh.share_budget(shared), &server, get()).await.unwrap();
    assert_eq!(server.attempts(), 1);
}

/// Ready once: whoever is cloned from it never is.
struct Spent {
    inner: Below,
    is_clone: bool,
}

impl Clone for Spent {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), is_clone: true }
    }
}

impl Service<Request<String>> for Spent {
    type Response = Response<&'static str>;
    type Error = BoxError;
    type Future = <Below as Service<Request<String>>>::Future;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(if self.is_clone { Err("closed".into()) } else { Ok(()) })
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_is_back_when_the_service_below_is_closed_though_the_future_is_kept() {
    let server = Server::new([Say::Status(500)]);
    let layer = with_budget(0.0, 1);
    let mut service = layer.layer(Spent { inner: server.service(), is_clone: false });
    let mut call = std::pin::pin!(service.ready().await.unwrap().call(get()));
    assert_eq!(call.as_mut().await.unwrap_err().to_string(), "closed");
    assert_eq!((server.attempts(), layer.handle().unwrap().left()), (1, 10));
    let again = call.await.unwrap_err();
    assert!(again.to_string().contains("after it had ended"), "{again}");
}
