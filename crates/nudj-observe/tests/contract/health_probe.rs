//! What a client's checks make of each way in which their call can go wrong, with every setting at its default.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use nudj_client::{Client, ClientBuilder};
use nudj_mock::{Fault, MockService};
use nudj_observe::health::{CheckConfig, Health, Report, Status};
use nudj_tower::{
    BoxError,
    classify::TransportError,
    credentials::{Credential, FromFn},
};
use tokio::time::Instant;
use tower::service_fn;

fn builder() -> ClientBuilder {
    Client::builder().endpoint("http://127.0.0.1:9")
}

fn client(mock: &MockService) -> Client {
    builder().token(mock.token()).build_over(mock.clone()).unwrap()
}

/// The report, which is there before the checks' own time is over.
async fn report(client: &Client) -> Report {
    let health = Health::builder().client(client, CheckConfig::default()).build().unwrap();
    let start = Instant::now();
    let report = health.report().await;
    assert!(start.elapsed() < CheckConfig::default().timeout, "{report:?}");
    report
}

/// Status and text of `nudj_api` and of `authentication`.
fn both(report: &Report) -> [(Status, &str); 2] {
    ["nudj_api", "authentication"].map(|name| {
        let check = &report.checks[name];
        (check.status, check.error.as_deref().unwrap_or_default())
    })
}

#[tokio::test(start_paused = true)]
async fn an_api_that_answers_503_is_unhealthy_and_says_so() {
    let mock = MockService::default();
    mock.inject(Fault::status(503));
    let report = report(&client(&mock)).await;
    let [(api, what), (authentication, why)] = both(&report);
    assert_eq!((api, authentication), (Status::Unhealthy, Status::Degraded), "{report:?}");
    assert!(what.contains("the API answered 503") && why.contains("could not be checked"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_api_that_hangs_is_unhealthy_and_the_credential_is_not_to_blame() {
    let mock = MockService::default();
    mock.inject(Fault::hang());
    let hangs = report(&client(&mock)).await;
    let [(api, what), (authentication, why)] = both(&hangs);
    assert_eq!((api, authentication), (Status::Unhealthy, Status::Degraded), "{hangs:?}");
    assert!(what.contains("timed out") && why.contains("could not be checked"), "{hangs:?}");

    // What it said before is not lost.
    let mock = MockService::default();
    mock.inject(Fault::status(503).times(1));
    mock.inject(Fault::hang());
    let hangs = report(&client(&mock)).await;
    assert!(both(&hangs)[0].1.starts_with("the API answered 503, then timed out"), "{hangs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_before_our_own_limiter_is_not_an_unhealthy_api() {
    // Longer than a check may wait, and shorter, with an answer that then comes too late.
    for (calls, latency) in [(500, Duration::ZERO), (150, Duration::from_millis(900))] {
        let mock = MockService::default();
        mock.inject(Fault::latency(latency));
        let client = client(&mock);
        let busy = client.clone();
        let calls = tokio::spawn(join_all((0..calls).map(move |_| {
            let client = busy.clone();
            async move { client.integration().me().get().await }
        })));
        while client.handles().rate_limit().queue_depth() == 0 {
            tokio::task::yield_now().await;
        }
        let report = report(&client).await;
        assert_eq!(both(&report).map(|(status, _)| status), [Status::Degraded; 2], "{report:?}");
        assert_eq!(report.status, Status::Degraded, "which is ready");
        calls.abort();
    }
}

#[tokio::test]
async fn a_full_pool_of_our_own_is_not_an_unhealthy_api() {
    let busy = service_fn(|_: Request<Full<Bytes>>| {
        std::future::ready(Err::<Response<Full<Bytes>>, BoxError>(TransportError::Busy("256 calls wait".into()).into()))
    });
    let report = report(&builder().token("token").build_over(busy).unwrap()).await;
    let [(api, what), (authentication, _)] = both(&report);
    assert_eq!((api, authentication), (Status::Degraded, Status::Degraded), "{report:?}");
    assert!(what.contains("no connection was free"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_does_not_come_is_not_an_unhealthy_api() {
    let mock = MockService::default();
    let provider = FromFn::new("slow", || async { pending::<Result<Credential, BoxError>>().await });
    let client = builder().credentials(Arc::new(provider)).build_over(mock.clone()).unwrap();
    let report = report(&client).await;
    let [(api, _), (authentication, why)] = both(&report);
    assert_eq!((api, authentication), (Status::Degraded, Status::Unhealthy), "{report:?}");
    assert!(why.contains("no credential in time"), "{report:?}");
    assert_eq!(mock.request_count(), 0);
}

#[tokio::test]
async fn only_an_answer_of_the_apis_own_shows_that_it_is_there() {
    let own = r#"{"message": "User not found", "code": "NOT_FOUND", "data": {"httpStatus": 404, "path": "me"}}"#;
    let json = HeaderValue::from_static("application/json");
    let rows = [
        ("a proxy's 404", Fault::html(404), [Status::Unhealthy, Status::Degraded]),
        ("a proxy's page", Fault::html(200), [Status::Unhealthy, Status::Degraded]),
        ("another's JSON", Fault::answer(200, json.clone(), "{}"), [Status::Unhealthy, Status::Degraded]),
        ("the API's 404", Fault::answer(404, json.clone(), own), [Status::Healthy, Status::Degraded]),
        ("a user", Fault::answer(200, json, r#"{"id": "1", "level": 1}"#), [Status::Healthy, Status::Healthy]),
    ];
    for (name, fault, expected) in rows {
        let mock = MockService::default();
        mock.inject(fault.on(Method::GET, "/api/v2/integration/me"));
        let report = report(&client(&mock)).await;
        assert_eq!(both(&report).map(|(status, _)| status), expected, "{name}: {report:?}");
    }
}

#[tokio::test]
async fn what_is_checked_is_the_api_and_not_a_cache_in_the_client() {
    // With a cache the check reported what that had, while the API was down.
    let mock = MockService::default();
    report(&client(&mock)).await;
    let asked = mock.requests();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.headers["cache-control"], "no-cache, no-store", "{}", request.path);
    }
}
