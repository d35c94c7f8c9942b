//! A call whose endpoints are all gone by its repeat ends there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::observe::Event;

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
