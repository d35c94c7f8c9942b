//! The layers together.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{Method, Request, Response};
use http_body_util::Full;
use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_tower::{BoxError, classify::TransportError};
use tower::ServiceExt;

use super::{client_over, quick, start};

const ME: &str = "/api/v2/integration/me";

#[tokio::test]
async fn one_id_over_all_attempts_and_a_new_span_for_each() {
    let (mock, client) = start().await;
    mock.inject(Fault::statuses([503, 500]));
    let answer = client.request(Method::GET, ME).send().await.unwrap();
    let requests = mock.requests();
    assert_eq!(requests.len(), 3);
    let id = answer.context().correlation_id().unwrap();
    assert!(requests.iter().all(|request| request.header("x-correlation-id") == id.to_str().ok()));
    let parents: HashSet<_> =
        requests.iter().map(|request| request.header("traceparent").unwrap().to_owned()).collect();
    assert_eq!(parents.len(), 3, "each attempt is a span of its own");
    assert_eq!(parents.iter().map(|parent| parent[..35].to_owned()).collect::<HashSet<_>>().len(), 1, "in one trace");
    let repeats: Vec<_> = requests.iter().map(|request| request.header("x-retry-attempt").map(str::to_owned)).collect();
    assert_eq!(repeats, [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[tokio::test]
async fn the_callers_own_correlation_id_is_kept_and_a_hostile_one_replaced() {
    let (mock, client) = start().await;
    for (given, kept) in [("abc-1.2_3", true), ("a b", false), ("a\tb", false), ("", false)] {
        let answer = client
            .request(Method::GET, ME)
            .header("x-correlation-id".parse().unwrap(), given.parse().unwrap())
            .send()
            .await
            .unwrap();
        let sent = mock.requests().pop().unwrap().header("x-correlation-id").unwrap().to_owned();
        assert_eq!(sent == given, kept, "{given:?}");
        assert_eq!(answer.context().correlation_id().unwrap(), sent.as_str());
    }
}

#[tokio::test]
async fn calls_go_round_over_the_endpoints() {
    let mock = MockNudj::start_many(3).await.unwrap();
    let client = client_over(&mock, quick(&mock));
    for _ in 0..30 {
        client.integration().me().get().await.unwrap();
    }
    for instance in 0..3 {
        assert_eq!(mock.received().at_instance(instance).len(), 10);
    }
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_call() {
    let mock = MockNudj::start_many(3).await.unwrap();
    let client = client_over(&mock, quick(&mock));
    mock.kill(1).await.unwrap();
    for _ in 0..60 {
        client.integration().me().get().await.unwrap();
    }
    let new = nudj_client::model::NewUser { email: Some("a@example.org".into()), ..Default::default() };
    client.admin().users().create(&new).await.unwrap();
}

#[tokio::test]
async fn an_open_circuit_refuses_at_once_and_says_when_to_come_again() {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick(&mock);
    config.retry.max_retries = 0;
    let client = client_over(&mock, config);
    mock.inject(Fault::status(500));
    for _ in 0..5 {
        assert_eq!(client.integration().me().get().await.unwrap_err().status().unwrap(), 500);
    }
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts(), error.was_sent()), ("circuit_open", 0, false));
    assert!(error.retry_after().unwrap() <= Duration::from_secs(60));
    assert_eq!(mock.request_count(), 5);
}

#[tokio::test]
async fn answers_of_4xx_do_not_open_the_circuit() {
    let (mock, client) = start().await;
    for _ in 0..20 {
        assert_eq!(client.admin().users().get("unknown").await.unwrap_err().status().unwrap(), 404);
    }
    assert_eq!(mock.request_count(), 20);
}

#[tokio::test]
async fn our_own_limiter_refuses_what_would_wait_past_its_bound() {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick(&mock);
    config.rate_limit.max_requests = 2;
    config.rate_limit.window = Duration::from_secs(3600);
    config.rate_limit.max_wait = Duration::from_secs(1);
    let client = client_over(&mock, config);
    client.integration().me().get().await.unwrap();
    client.integration().me().get().await.unwrap();
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts()), ("rate_limited", 0));
    assert!(error.retry_after().unwrap() > Duration::from_secs(3000));
}

#[tokio::test]
async fn a_key_makes_a_post_retryable_and_stays_the_same() {
    let mock = MockNudj::builder().idempotency(true).start().await.unwrap();
    let mut config = quick(&mock);
    config.retry.idempotency_keys = true;
    let client = client_over(&mock, config);
    mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").times(2));
    let new = nudj_client::model::NewUser { email: Some("a@example.org".into()), ..Default::default() };
    client.admin().users().create(&new).await.unwrap();
    let keys: HashSet<_> =
        mock.requests().iter().map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!((mock.request_count(), keys.len(), mock.users_count()), (3, 1, 1));
}

#[tokio::test]
async fn a_callers_connection_header_takes_nothing_away_that_the_layers_write() {
    const NAMED: [&str; 3] =
        ["idempotency-key, x-api-token", "close", "x-correlation-id, traceparent, x-retry-attempt"];
    let mock = MockNudj::builder().idempotency(true).start().await.unwrap();
    let mut config = quick(&mock);
    config.retry.idempotency_keys = true;
    let client = client_over(&mock, config);
    mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").times(1));
    let request = Request::post("/api/v2/admin/users").header("content-type", "application/json");
    let mut request = request.body(r#"{"email":"a@example.org"}"#.into()).unwrap();
    for line in NAMED {
        request.headers_mut().append("connection", line.parse().unwrap());
    }
    // As a gateway passes on what came in.
    assert_eq!(client.service().oneshot(request).await.unwrap().status(), 200);
    assert_eq!((mock.request_count(), mock.users_count()), (2, 1));
    let named = NAMED.join(",").parse().unwrap();
    client.request(Method::GET, ME).header(http::header::CONNECTION, named).send().await.unwrap();
    let sent = mock.requests();
    for (request, names) in sent.iter().zip([
        &["idempotency-key", "x-api-token", "x-correlation-id", "traceparent"][..],
        &["idempotency-key", "x-retry-attempt"],
        &["x-api-token", "x-correlation-id", "traceparent"],
    ]) {
        assert!(names.iter().all(|name| request.header(name).is_some()), "{request:?}");
        assert_eq!(request.header("connection"), None);
    }
    assert_eq!(sent[0].header("idempotency-key"), sent[1].header("idempotency-key"));
}

#[tokio::test]
async fn a_call_whose_repeat_never_left_says_that_an_earlier_attempt_was_sent() {
    let mock = MockNudj::builder().idempotency(true).start().await.unwrap();
    let mut config = quick(&mock);
    config.endpoints.push("http://127.0.0.1:1".parse().unwrap());
    config.retry.idempotency_keys = true;
    config.retry.max_retries = 1;
    let client = client_over(&mock, config);
    mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users"));
    let new = nudj_client::model::NewUser { email: Some("a@example.org".into()), ..Default::default() };
    let error = client.admin().users().create(&new).await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts(), mock.users_count()), ("connect", 2, 1));
    assert!(error.was_sent() && error.is_in_doubt());

    mock.inject(Fault::status(400).on(Method::PATCH, "/api/v2/admin/users/1"));
    let refused = client.request(Method::PATCH, "/api/v2/admin/users/1").send().await.unwrap_err();
    assert!(!refused.is_in_doubt(), "one attempt, and its answer says no: {refused}");
}

#[tokio::test]
async fn calls_that_find_no_connection_free_say_nothing_of_the_endpoint() {
    let mock = MockNudj::start().await.unwrap();
    let mut config = quick(&mock);
    config.http.pool_max_per_host = 1;
    config.http.pool_max_waiting = 1;
    let client = client_over(&mock, config);
    mock.inject(Fault::hang());
    let mut calls: FuturesUnordered<_> = (0..12).map(|_| client.request(Method::GET, ME).send()).collect();
    // One is under way and one waits.
    for _ in 0..10 {
        let error = calls.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind().name(), error.was_sent(), error.is_retryable()), ("busy", false, true));
        assert_eq!(error.attempts(), 1, "there is no other endpoint to try");
    }
    assert_eq!(client.handles().breakers()[0].state(), nudj_tower::circuit_breaker::State::Closed);
}

#[tokio::test]
async fn the_service_itself_is_a_tower_service() {
    let (mock, client) = start().await;
    let request = Request::get(ME).body(Full::default()).unwrap();
    let response = client.service().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(mock.request_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_stack_runs_over_a_service_without_a_socket() {
    let mock = MockNudj::builder().service().unwrap();
    let mut config = Config::with_endpoints(["http://localhost"]);
    config.rate_limit.max_requests = 1000;
    let client = Client::builder().config(config).token(mock.token()).build_over(mock.clone()).unwrap();
    mock.inject(Fault::statuses([503, 503]));
    client.integration().me().get().await.unwrap();
    assert_eq!(mock.request_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_pass_the_deadline_is_refused_at_once() {
    let mock = MockNudj::builder().service().unwrap();
    let mut config = Config::with_endpoints(["http://localhost"]);
    config.timeout.total = Duration::from_secs(5);
    config.rate_limit.max_requests = 1;
    config.rate_limit.window = Duration::from_secs(10);
    let client = Client::builder().config(config).token(mock.token()).build_over(mock.clone()).unwrap();
    client.integration().me().get().await.unwrap();
    let start = tokio::time::Instant::now();
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!(error.kind().name(), "rate_limited");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn amplification_stays_within_the_budget_when_everything_fails() {
    let mock = MockNudj::builder().request_log(0).service().unwrap();
    let mut config = Config::with_endpoints(["http://localhost"]);
    config.rate_limit.max_requests = 1_000_000;
    config.circuit_breaker.failure_threshold = 0;
    config.retry.budget.min_per_second = 0;
    let client = Client::builder().config(config).token(mock.token()).build_over(mock.clone()).unwrap();
    mock.inject(Fault::status(500));
    for _ in 0..1000 {
        client.integration().me().get().await.unwrap_err();
    }
    let sent = mock.request_count();
    assert!((1000..=1200).contains(&sent), "{sent} requests for 1000 calls");
}

#[tokio::test]
async fn only_what_a_later_call_may_get_through_is_worth_another_call() {
    type Make = fn(BoxError) -> TransportError;
    let rows: [(Make, bool); 6] = [
        (TransportError::Connect, true),
        (TransportError::Unsent, true),
        (TransportError::Busy, true),
        (TransportError::Exchange, true),
        (TransportError::Closed, false),
        (TransportError::InvalidRequest, false),
    ];
    for (make, is_retryable) in rows {
        let fails = tower::service_fn(move |_: Request<Full<Bytes>>| async move {
            Err::<Response<Full<Bytes>>, BoxError>(make("as told".into()).into())
        });
        let mut config = Config::with_endpoints(["http://127.0.0.1:1"]);
        config.retry.max_retries = 0;
        let client = Client::builder().config(config).token("t").build_over(fails).unwrap();
        let error = client.request(Method::GET, "/x").send().await.unwrap_err();
        assert_eq!(error.is_retryable(), is_retryable, "{error:?}");
    }
}
