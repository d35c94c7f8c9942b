//! Tokens on demand, as the seed assumes them.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use nudj_mock::MockService;
use serde_json::Value;

use crate::client::{Answer, post, request, send};

async fn grant(mock: &MockService, form: &'static str, basic: Option<&str>) -> Answer {
    let mut asked = Request::post("/oauth/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(basic) = basic {
        asked = asked.header(header::AUTHORIZATION, basic);
    }
    send(mock, asked.body(Full::new(Bytes::from_static(form.as_bytes()))).unwrap()).await.unwrap()
}

async fn me(mock: &MockService, token: &str) -> StatusCode {
    send(mock, request(Method::GET, "/api/v2/integration/me", token, None)).await.unwrap().status
}

#[tokio::test(start_paused = true)]
async fn client_credentials_give_a_token_that_ends() {
    let mock = MockService::builder()
        .oauth_client("id", "se cret")
        .token_lifetime(Duration::from_secs(600))
        .service()
        .unwrap();
    let answer = grant(&mock, "grant_type=client_credentials&client_id=id&client_secret=se+cret", None).await;
    assert_eq!(
        (answer.status, &answer.json["token_type"], answer.json["expires_in"].as_u64()),
        (StatusCode::OK, &Value::from("Bearer"), Some(600))
    );
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let token = answer.json["access_token"].as_str().unwrap();
    assert_eq!(me(&mock, token).await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(me(&mock, token).await, StatusCode::UNAUTHORIZED);
    // The client in a header: base64 of "id:se cret".
    let basic = grant(&mock, "grant_type=client_credentials", Some("Basic aWQ6c2UgY3JldA==")).await;
    assert_ne!(basic.json["access_token"], token);
    for (form, status, error) in [
        ("grant_type=client_credentials&client_id=id&client_secret=x", 401, "invalid_client"),
        ("grant_type=client_credentials", 401, "invalid_client"),
        ("grant_type=password&client_id=id&client_secret=se+cret", 400, "unsupported_grant_type"),
        ("client_id=id", 400, "invalid_request"),
    ] {
        let refused = grant(&mock, form, None).await;
        assert_eq!((refused.status.as_u16(), refused.json["error"].as_str()), (status, Some(error)), "{form}");
    }
}

#[tokio::test]
async fn basic_credentials_are_form_encoded_each_for_itself() {
    let mock = MockService::builder().oauth_client("the id:1", "a+b%c/ä d").service().unwrap();
    for (pair, status) in [
        // As RFC 6749, section 2.3.1 has it, with either way to write a space.
        ("the%20id%3A1:a%2Bb%25c%2F%C3%A4%20d", 200),
        ("the+id%3A1:a%2Bb%25c%2F%C3%A4+d", 200),
        // As it is, the id ends at its colon, and the plus is a space.
        ("the id:1:a+b%c/ä d", 401),
        ("the+id%3A1:a+b%25c%2F%C3%A4+d", 401),
        // No UTF-8.
        ("the+id%3A1:%FF", 401),
        ("no colon", 401),
    ] {
        let basic = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let answer = grant(&mock, "grant_type=client_credentials", Some(&basic)).await;
        assert_eq!(answer.status, status, "{pair}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_stays_good_for_the_overlap() {
    let mock = MockService::builder().rotation_overlap(Duration::from_secs(30)).service().unwrap();
    let answer = post(&mock, "/api/v2/admin/auth/rotate-api-key", serde_json::json!({})).await;
    let new = answer.json["apiKey"].as_str().unwrap();
    assert_eq!((me(&mock, new).await, me(&mock, mock.token()).await), (StatusCode::OK, StatusCode::OK));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!((me(&mock, new).await, me(&mock, mock.token()).await), (StatusCode::OK, StatusCode::UNAUTHORIZED));
    let short = mock.issue_token(Duration::from_secs(5));
    assert_eq!(me(&mock, &short).await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(me(&mock, &short).await, StatusCode::UNAUTHORIZED);
}
