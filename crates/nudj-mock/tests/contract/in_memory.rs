//! Faults through the in-memory form, under a paused clock.

use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use nudj_mock::{BoxError, Disconnected, Fault, MockService};
use serde_json::json;
use tokio::time::Instant;

use crate::client::{call, get, post, request, send};

const USERS: &str = "/api/v2/admin/users";

/// The kind of the io error and what is inside.
fn cut(error: &BoxError) -> (io::ErrorKind, Disconnected) {
    let error = error.downcast_ref::<io::Error>().unwrap();
    (error.kind(), *error.get_ref().unwrap().downcast_ref::<Disconnected>().unwrap())
}

async fn try_get(mock: &MockService) -> Result<crate::client::Answer, BoxError> {
    send(mock, request(Method::GET, USERS, mock.token(), None)).await
}

#[tokio::test(start_paused = true)]
async fn latency_passes_in_tokio_time_and_statuses_come_in_order() {
    let mock = MockService::default();
    let id =
        mock.inject(Fault::statuses([503, 503, 200]).on(Method::GET, USERS).retry_after(Duration::from_millis(1500)));
    mock.inject(Fault::latency(Duration::from_secs(5)).on(Method::POST, USERS));
    let start = Instant::now();
    let sick = get(&mock, USERS).await;
    assert_eq!(
        (sick.refusal().1, &sick.headers[header::RETRY_AFTER]),
        ("SERVICE_UNAVAILABLE", &HeaderValue::from_static("2"))
    );
    assert_eq!(get(&mock, USERS).await.status, 503);
    assert_eq!(get(&mock, USERS).await.status, 200);
    assert_eq!(get(&mock, USERS).await.status, 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
    post(&mock, USERS, json!({"email": "a@b"})).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(mock.fired(id), 2);
    mock.clear_faults();
    assert_eq!(mock.fired(id), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_date_is_reckoned_from_the_mocks_clock() {
    let mock = MockService::builder().clock(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).service().unwrap();
    mock.inject(Fault::status(429).retry_after_date(Duration::from_secs(30)));
    assert_eq!(get(&mock, USERS).await.headers[header::RETRY_AFTER], "Tue, 14 Nov 2023 22:13:50 GMT");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_date_past_what_can_be_written_is_the_last_that_can() {
    let last = "Fri, 31 Dec 9999 23:59:59 GMT";
    let age = Duration::from_secs(1000);
    for (start, wait, date) in [
        (UNIX_EPOCH, Duration::from_secs(253_402_300_799), last),
        (UNIX_EPOCH, Duration::from_secs(253_402_300_800), last),
        (UNIX_EPOCH, Duration::MAX, last),
        (UNIX_EPOCH - age, Duration::ZERO, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (UNIX_EPOCH - age, age, "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        let mock = MockService::builder().clock(start).service().unwrap();
        mock.inject(Fault::status(429).retry_after_date(wait));
        assert_eq!(get(&mock, USERS).await.headers[header::RETRY_AFTER], date, "{wait:?}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_here_either() {
    let mock = MockService::default();
    mock.inject(Fault::html(502).times(1));
    mock.inject(Fault::huge_body(5).times(1));
    mock.inject(Fault::truncated(5).times(1));
    for (status, length) in [(502, None), (200, Some("5")), (200, None)] {
        let answer = call(&mock, Method::HEAD, USERS, None).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (status, 0));
        let announced = &answer.headers[header::CONTENT_LENGTH];
        assert!(*announced != "0" && length.is_none_or(|length| *announced == length), "{announced:?}");
    }
}

#[tokio::test]
async fn a_closed_connection_has_no_effect_and_a_lost_answer_has() {
    let mock = MockService::default();
    mock.inject(Fault::close().times(1));
    mock.inject(Fault::lost_answer().times(1));
    let create = || send(&mock, request(Method::POST, USERS, mock.token(), Some(&json!({"email": "a@b"}))));
    let reset = (io::ErrorKind::ConnectionReset, Disconnected::BeforeAnswer);
    assert_eq!(cut(&create().await.unwrap_err()), reset);
    assert_eq!(mock.users_count(), 0);
    assert_eq!(cut(&create().await.unwrap_err()), reset);
    assert_eq!(mock.users_count(), 1);
    assert_eq!(create().await.unwrap().status, StatusCode::CONFLICT);
    let answered: Vec<_> =
        mock.requests().iter().map(|request| request.answered.map(|status| status.as_u16())).collect();
    assert_eq!(answered, [None, None, Some(409)]);
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_its_idempotency_key() {
    let mock = MockService::builder().idempotency(true).service().unwrap();
    mock.inject(Fault::lost_answer().times(1));
    let create = || {
        let mut asked = request(Method::POST, USERS, mock.token(), Some(&json!({"email": "a@b"})));
        asked.headers_mut().insert("idempotency-key", HeaderValue::from_static("k"));
        send(&mock, asked)
    };
    assert!(create().await.is_err());
    let answer = create().await.unwrap();
    assert_eq!((answer.status, answer.json["email"].as_str()), (StatusCode::OK, Some("a@b")));
    assert_eq!(mock.users_count(), 1);
}

#[tokio::test]
async fn an_idempotency_key_is_known_under_every_origin() {
    let mock = MockService::builder().idempotency(true).service().unwrap();
    mock.inject(Fault::lost_answer().times(1));
    let create = |origin: &str, query: &str| {
        let uri = format!("{origin}{USERS}{query}");
        let mut asked = request(Method::POST, &uri, mock.token(), Some(&json!({"email": "a@b"})));
        asked.headers_mut().insert("idempotency-key", HeaderValue::from_static("k"));
        send(&mock, asked)
    };
    assert!(create("https://one.example", "").await.is_err());
    assert_eq!(create("https://two.example:8443", "").await.unwrap().status, StatusCode::OK);
    assert_eq!(create("", "").await.unwrap().headers["idempotent-replayed"], "true");
    assert_eq!(create("https://two.example", "?n=1").await.unwrap().status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_body_is_an_error_and_a_dripping_one_takes_its_time() {
    let mock = MockService::default();
    mock.inject(Fault::truncated(5).times(1));
    mock.inject(Fault::drip(10, Duration::from_secs(1)).times(1));
    assert_eq!(cut(&try_get(&mock).await.unwrap_err()), (io::ErrorKind::UnexpectedEof, Disconnected::InsideBody));
    let start = Instant::now();
    let answer = try_get(&mock).await.unwrap();
    let pieces = u32::try_from(answer.bytes.len().div_ceil(10)).unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1) * pieces);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_never_ends_by_itself() {
    let mock = MockService::default();
    mock.inject(Fault::hang());
    assert!(tokio::time::timeout(Duration::from_secs(86_400), try_get(&mock)).await.is_err());
    assert_eq!(mock.request_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_answered_has_had_its_effect() {
    let mock = MockService::default();
    mock.inject(Fault::unanswered().times(1));
    let create = || send(&mock, request(Method::POST, USERS, mock.token(), Some(&json!({"email": "a@b"}))));
    assert!(tokio::time::timeout(Duration::from_secs(86_400), create()).await.is_err());
    assert_eq!((mock.users_count(), mock.requests()[0].answered), (1, None));
    assert_eq!(create().await.unwrap().status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn strange_bodies_come_as_ordered() {
    let mock = MockService::default();
    mock.inject(Fault::html(502).times(1));
    mock.inject(Fault::answer(200, HeaderValue::from_static("application/json"), "{\"id\":").times(1));
    mock.inject(Fault::huge_body(1 << 20).times(1));
    mock.inject(Fault::redirect(302, HeaderValue::from_static("http://elsewhere/")).times(1));
    mock.inject(Fault::status(204).times(1));
    let html = get(&mock, USERS).await;
    assert_eq!(
        (html.status.as_u16(), &html.headers[header::CONTENT_TYPE]),
        (502, &HeaderValue::from_static("text/html"))
    );
    assert!(html.bytes.starts_with(b"<html>"));
    assert_eq!(get(&mock, USERS).await.bytes, "{\"id\":");
    assert_eq!(get(&mock, USERS).await.bytes.len(), 1 << 20);
    assert_eq!(get(&mock, USERS).await.headers[header::LOCATION], "http://elsewhere/");
    assert!(get(&mock, USERS).await.bytes.is_empty());
}

#[tokio::test]
async fn headers_can_be_added_to_the_apis_own_answers() {
    let mock = MockService::default();
    mock.inject(Fault::headers().header(HeaderName::from_static("etag"), HeaderValue::from_static("\"1\"")));
    mock.inject(Fault::status(503).times(1));
    mock.inject(Fault::headers().header(header::CONTENT_TYPE, HeaderValue::from_static("text/plain")));
    assert_eq!(get(&mock, USERS).await.headers["etag"], "\"1\"");
    // In place of the API's own.
    let touched = get(&mock, USERS).await;
    let types: Vec<_> = touched.headers.get_all(header::CONTENT_TYPE).iter().collect();
    assert_eq!((touched.status.as_u16(), types), (200, vec![&HeaderValue::from_static("text/plain")]));
}

#[tokio::test(start_paused = true)]
async fn a_quota_holds_over_all_instances_and_frees_places_in_time() {
    let mock = MockService::default();
    let id = mock.inject(Fault::quota(10, Duration::from_secs(1)));
    let mut statuses = Vec::new();
    for n in 0..15 {
        statuses.push(get(&mock.at_instance(n % 3), USERS).await.status.as_u16());
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429; 5]].concat());
    let refused = get(&mock, USERS).await;
    assert_eq!(
        (refused.refusal().1, &refused.headers[header::RETRY_AFTER]),
        ("TOO_MANY_REQUESTS", &HeaderValue::from_static("1"))
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&mock, USERS).await.status, 200);
    assert_eq!(mock.fired(id), 6);
}

#[tokio::test]
async fn a_fault_can_be_kept_to_one_instance() {
    let mock = MockService::default();
    mock.inject(Fault::status(503).instance(1));
    let statuses = [0, 1, 2].map(|n| mock.at_instance(n));
    let mut seen = Vec::new();
    for mock in &statuses {
        seen.push(get(mock, USERS).await.status.as_u16());
    }
    assert_eq!(seen, [200, 503, 200]);
    assert_eq!(mock.received().at_instance(1).len(), 1);
}

#[tokio::test]
async fn a_killed_service_refuses_until_it_is_revived() {
    let mock = MockService::default();
    let other = mock.at_instance(1);
    mock.kill();
    let refused = (io::ErrorKind::ConnectionRefused, Disconnected::Refused);
    assert_eq!(cut(&try_get(&mock.clone()).await.unwrap_err()), refused);
    assert_eq!(get(&other, USERS).await.status, 200);
    mock.revive();
    assert_eq!(get(&mock, USERS).await.status, 200);
    assert_eq!(mock.request_count(), 2);
}

#[tokio::test]
async fn what_arrived_can_be_asserted() {
    let mock = MockService::builder().request_log(3).service().unwrap();
    for n in 0..5 {
        let asked =
            request(Method::POST, &format!("{USERS}?n={n}"), mock.token(), Some(&json!({"email": format!("{n}@b")})));
        send(&mock, asked).await.unwrap();
    }
    call(&mock, Method::GET, &format!("{USERS}/a%20b"), None).await;
    let received = mock.received();
    assert_eq!((received.len(), mock.request_count()), (3, 6));
    assert_eq!(received.count(Method::POST, USERS), 2);
    assert_eq!(received.count(Method::GET, &format!("{USERS}/{{id}}")), 1);
    let posts = received.on(Method::POST, USERS);
    let last = posts.all().last().unwrap();
    assert_eq!((last.query.as_deref(), last.json()), (Some("n=4"), Some(json!({"email": "4@b"}))));
    assert_eq!((last.header("x-api-token"), last.answered), (Some(mock.token()), Some(StatusCode::OK)));
    mock.clear_requests();
    assert!(mock.received().is_empty());
}

#[tokio::test]
async fn no_debug_output_holds_a_token_or_a_secret() {
    let mock =
        MockService::builder().token("canary-token").oauth_client("canary-id", "canary-secret").service().unwrap();
    get(&mock, USERS).await;
    let shown =
        format!("{mock:?} {:?} {:?} {:?}", *mock, mock.requests(), MockService::builder().token("canary-token"));
    assert!(!shown.contains("canary"), "{shown}");
}
