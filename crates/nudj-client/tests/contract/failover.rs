//! A call whose endpoints are all gone by its repeat ends there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use nudj_client::{Client, Config, model::NewUser};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::observe::Event;
use tower_service::Service as _;

/// Over a socket it did; over the mock without one, what is refused was taken for an exchange that had broken off.
#[tokio::test(start_paused = true)]
async fn a_post_to_an_endpoint_that_refuses_gets_through_at_the_other_at_once() {
    let mock = MockNudj::builder().service().unwrap();
    let dead = mock.at_instance(1);
    dead.kill();
    let transport = tower::service_fn({
        let mock = mock.clone();
        move |request: http::Request<Full<Bytes>>| {
            let here = if request.uri().host() == Some("a.localhost") { &dead } else { &mock };
            here.clone().call(request)
        }
    });
    let config = Config::with_endpoints(["http://a.localhost", "http://b.localhost"]);
    let client = Client::builder().config(config).token(mock.token()).build_over(transport).unwrap();
    for n in 0..2 {
        let start = tokio::time::Instant::now();
        let new = NewUser { email: Some(format!("user-{n}@example.org")), ..NewUser::default() };
        client.admin().users().create(&new).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
    assert_eq!(mock.request_count(), 2);

    let config = Config::with_endpoints(["http://a.localhost"]);
    let gone = mock.at_instance(1);
    gone.kill();
    let client = Client::builder().config(config).token(mock.token()).build_over(gone).unwrap();
    let error = client.request(Method::POST, "/").send().await.unwrap_err();
    assert_eq!((error.kind().name(), error.was_sent(), error.is_in_doubt()), ("connect", false, false));
}

#[tokio::test(start_paused = true)]
async fn when_all_circuits_open_during_the_backoff_one_repeat_is_told_and_paid_and_no_more() {
    let mock = MockNudj::builder().service().unwrap();
    let retried = Arc::new(Mutex::new(vec![]));
    let told = Arc::clone(&retried);
    let observer = move |event: &Event<'_>| {
        if let Event::Retried { number, failover, .. } = event {
            told.lock().unwrap().push((*number, *failover));
        }
    };
    let config = Config::with_endpoints(["http://a.localhost", "http://b.localhost"]);
    let builder = Client::builder().config(config).observer(Arc::new(observer)).token(mock.token());
    let client = builder.build_over(mock.clone()).unwrap();
    let budget = client.handles().retry_budget().unwrap();
    mock.inject(Fault::status(500));

    let whole = budget.left();
    let circuits_open = async {
        // Well within the first backoff, which is half a second at least.
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.handles().breakers().iter().for_each(|breaker| breaker.force_open());
    };
    let (answer, ()) = tokio::join!(client.request(Method::GET, "/").send(), circuits_open);

    let error = answer.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts(), mock.request_count()), ("circuit_open", 1, 1));
    assert_eq!(*retried.lock().unwrap(), [(1, false)], "the one after the backoff, and no failover to nowhere");
    assert_eq!(whole - budget.left(), 1);
    assert_eq!(client.handles().rate_limit().counts().granted, 1);
}
