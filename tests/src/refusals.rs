//! Calls that the composed stack refuses before they are sent say so, and cost nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use nudj_client::{Client, Config};
use nudj_tower::{
    BoxError,
    credentials::{Credential, FromFn},
};
use tokio::time::Instant;
use tower::service_fn;

#[tokio::test(start_paused = true)]
async fn while_the_only_circuit_is_open_nobody_waits_for_quota_or_takes_any() {
    let mut config = Config::with_endpoints(["http://127.0.0.1:1"]);
    config.circuit_breaker.failure_threshold = 1;
    config.retry.max_retries = 0;
    config.rate_limit.max_requests = 1;
    config.rate_limit.window = Duration::from_secs(10);
    let sick = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, BoxError>(Response::builder().status(500).body(Full::default())?)
    });
    let client = Client::builder().config(config).token("token").build_over(sick).unwrap();
    let kind = || async { client.request(Method::GET, "/").send().await.unwrap_err().kind().name() };

    let start = Instant::now();
    assert_eq!(kind().await, "status");
    for _ in 0..3 {
        assert_eq!(kind().await, "circuit_open");
    }
    assert_eq!((start.elapsed(), client.handles().rate_limit().counts().granted), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_ends_before_it_has_a_credential_was_not_sent() {
    let sent = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&sent);
    let below = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, SeqCst);
        std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>()
    });
    let mut config = Config::with_endpoints(["http://127.0.0.1:1"]);
    config.timeout.total = Duration::from_secs(2);
    let client =
        |provider| Client::builder().config(config.clone()).credentials(provider).build_over(below.clone()).unwrap();
    let hung = client(Arc::new(FromFn::new("hung", std::future::pending::<Result<Credential, BoxError>>)));
    let error = hung.request(Method::POST, "/").send().await.unwrap_err();
    assert_eq!((error.kind().name(), error.was_sent(), sent.load(SeqCst)), ("timeout", false, 0));

    let good = client(Arc::new(FromFn::new("good", || async { Ok(Credential::new("token")) })));
    let error = good.request(Method::POST, "/").send().await.unwrap_err();
    assert_eq!((error.kind().name(), error.was_sent(), sent.load(SeqCst)), ("timeout", true, 1));
}
