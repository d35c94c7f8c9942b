//! What the API may answer, documented or not.

use std::time::Duration;

use http::{Method, StatusCode};
use nudj_client::{
    ErrorKind,
    model::{Direction, NewPointsTransaction, Status},
};
use nudj_mock::Fault;

use super::start;

async fn read_user(body: &str) -> Result<nudj_client::model::User, nudj_client::Error> {
    let (mock, client) = start().await;
    mock.inject(Fault::answer(200, "application/json".parse().unwrap(), body.to_owned()));
    client.admin().users().get("x").await
}

#[tokio::test]
async fn only_an_id_is_required_and_the_rest_may_be_null_missing_or_new() {
    let user = read_user(r#"{"id":"u"}"#).await.unwrap();
    assert_eq!((user.id.as_str(), user.points), ("u", None));
    let user =
        read_user(r#"{"id":"u","points":500000.5,"xp":{"total":1e3,"new":1},"email":null,"newField":{"a":[1]}}"#)
            .await
            .unwrap();
    assert_eq!(user.points, Some(500_000.5));
    assert_eq!(user.xp.unwrap().total, Some(1000.0));
    assert!(user.extra.contains_key("newField"));
}

#[tokio::test]
async fn a_body_of_another_shape_is_a_decode_error_that_names_the_place_and_no_value() {
    for (body, place) in [
        (r#"{"id":"u","xp":{"total":"canary"}}"#, "xp.total"),
        (r#"{"points":1}"#, "line 1"),
        ("[1,2", "line 1"),
        ("", "line 1"),
        (r#"{"id":"u"} canary"#, "line 1"),
        ("<html>canary</html>", "line 1"),
    ] {
        let error = read_user(body).await.unwrap_err();
        assert_eq!(error.kind().name(), "decode", "{body}");
        assert!(error.to_string().contains(place), "{body}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert_eq!(error.status(), Some(StatusCode::OK));
    }
}

#[tokio::test]
async fn json_ten_thousand_deep_is_an_error_and_no_overflow() {
    let error = read_user(&"[".repeat(10_000)).await.unwrap_err();
    assert_eq!(error.kind().name(), "decode");
    let error = read_user(&format!("{{\"id\":\"u\",\"x\":{}", "[".repeat(10_000))).await.unwrap_err();
    assert_eq!(error.kind().name(), "decode");
}

#[tokio::test]
async fn the_error_envelope_is_read_and_a_proxys_html_survived() {
    let (mock, client) = start().await;
    let envelope =
        r#"{"message":"Title is taken","code":"CONFLICT","data":{"httpStatus":409,"path":"createChallenge"}}"#;
    mock.inject(Fault::answer(409, "application/json".parse().unwrap(), envelope).times(1));
    let error = client.admin().users().get("x").await.unwrap_err();
    let ErrorKind::Status { status, code, message, path } = error.kind() else { panic!("{error:?}") };
    assert_eq!(
        (status.as_u16(), code.as_deref(), message.as_deref(), path.as_deref()),
        (409, Some("CONFLICT"), Some("Title is taken"), Some("createChallenge"))
    );
    assert!(error.endpoint().is_some() && error.correlation_id().is_some() && error.attempts() == 1, "{error:?}");
    mock.inject(Fault::html(502));
    let error = client.admin().users().get("x").await.unwrap_err();
    assert_eq!((error.status(), error.code(), error.attempts()), (Some(StatusCode::BAD_GATEWAY), None, 4));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn what_the_api_says_of_an_error_is_read_field_by_field_and_shown_in_bounds() {
    let (mock, client) = start().await;
    let json = http::HeaderValue::from_static("application/json");
    for (status, body, code, message, shown) in [
        (
            409,
            r#"{"message":"Taken","code":-32009,"data":null}"#.to_owned(),
            Some("-32009"),
            Some("Taken"),
            "-32009: Taken",
        ),
        (409, r#"{"message":["a"],"code":"CONFLICT","data":"x"}"#.to_owned(), Some("CONFLICT"), None, "409 CONFLICT ("),
        (409, r#"["message"]"#.to_owned(), None, None, "409 ("),
        (409, r#"{"message":"a\u001b[2Jb\nc"}"#.to_owned(), None, Some("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc ("),
        (401, r#"{"message":"a\nb"}"#.to_owned(), None, None, "a\\nb; is the token valid"),
    ] {
        mock.inject(Fault::answer(status, json.clone(), body).times(1));
        let error = client.admin().users().get("x").await.unwrap_err();
        if let ErrorKind::Status { code: read, message: said, .. } = error.kind() {
            assert_eq!((read.as_deref(), said.as_deref()), (code, message));
        }
        assert!(error.to_string().contains(shown), "{error}");
    }
    let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(10_000));
    mock.inject(Fault::answer(409, json, long));
    let error = client.admin().users().get("x").await.unwrap_err();
    assert_eq!(error.to_string().matches('ä').count(), 500);
}

#[tokio::test]
async fn of_what_the_api_says_of_an_error_no_more_is_kept_than_a_text_needs() {
    let (mock, client) = start().await;
    let json = http::HeaderValue::from_static("application/json");
    let long = "ä".repeat(1 << 20);
    let body = format!(r#"{{"message":"x{long}","code":"{long}","data":{{"path":"{long}"}}}}"#);
    mock.inject(Fault::answer(409, json, body));
    let error = client.admin().users().get("x").await.unwrap_err();
    let ErrorKind::Status { code: Some(code), message: Some(message), path: Some(path), .. } = error.kind() else {
        panic!("{error}")
    };
    // 4 KiB, and no half of a character.
    assert_eq!((code.len(), message.len(), path.len()), (4096, 4095, 4096));
    assert!(code.chars().all(|character| character == 'ä'));
    assert!(format!("{error:?}").matches('ä').count() <= 500);
}

#[tokio::test]
async fn a_path_with_a_fragment_is_refused_before_it_loses_its_query() {
    let (mock, client) = start().await;
    let error = client.request(Method::GET, "/users#x").query("limit", 5).send().await.unwrap_err();
    assert!(error.to_string().starts_with("path: "), "{error}");
    assert_eq!(mock.request_count(), 0);
}

#[tokio::test]
async fn retry_after_of_an_answer_that_stands_is_in_the_error() {
    let (mock, client) = start().await;
    mock.inject(Fault::status(429).retry_after(Duration::from_secs(600)));
    let error = client.admin().users().get("x").await.unwrap_err();
    assert_eq!((error.kind().name(), error.attempts()), ("status", 1), "longer than max_retry_after: not waited for");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn a_wrong_token_is_an_auth_error_and_is_not_sent_again() {
    let (mock, client) = start().await;
    mock.revoke_token(mock.token());
    let error = client.integration().me().get().await.unwrap_err();
    assert_eq!((error.kind().name(), error.status(), error.attempts()), ("auth", Some(StatusCode::UNAUTHORIZED), 1));
}

#[tokio::test]
async fn an_id_is_one_encoded_segment() {
    let (mock, client) = start().await;
    let _ = client.admin().users().get("a/../../x?y#z").await;
    assert_eq!(mock.requests()[0].path, "/api/v2/admin/users/a%2F..%2F..%2Fx%3Fy%23z");
    for id in ["", ".", ".."] {
        let error = client.admin().users().get(id).await.unwrap_err();
        assert_eq!(error.kind().name(), "config");
    }
    assert_eq!(mock.request_count(), 1);
}

#[tokio::test]
async fn points_are_given_once_per_reference() {
    let (mock, client) = start().await;
    let user = mock.add_user(&serde_json::json!({ "email": "a@example.org", "username": "a" })).unwrap();
    let id = user["id"].as_str().unwrap();
    let transaction = NewPointsTransaction {
        amount: 10.5,
        direction: Direction::Credit,
        external_transaction_reference: "order-1".into(),
        community_id: None,
    };
    let users = client.admin().users();
    let made = users.points_transaction(id, &transaction).await.unwrap();
    assert_eq!(made.transaction.unwrap().amount, Some(10.5));
    let again = users.points_transaction(id, &transaction).await.unwrap_err();
    assert_eq!(again.status(), Some(StatusCode::CONFLICT));
}

#[tokio::test]
async fn a_users_statistics_are_read() {
    let (mock, client) = start().await;
    let user = mock.add_user(&serde_json::json!({ "email": "a@example.org", "username": "a" })).unwrap();
    let id = user["id"].as_str().unwrap();
    let details = client.analytics().user_details(id).await.unwrap();
    assert_eq!((details.user_id.as_str(), details.email.as_deref()), (id, Some("a@example.org")));
    assert_eq!(details.stats.unwrap().total_points, Some(0.0));
}

#[tokio::test]
async fn every_list_of_the_typed_api_is_served() {
    let (mock, client) = start().await;
    let (admin, mine) = (client.admin(), client.integration());
    admin.users().list().page().await.unwrap();
    admin.challenges().list().page().await.unwrap();
    admin.challenge_groups().list().page().await.unwrap();
    admin.actions().list().page().await.unwrap();
    admin.rewards().list().page().await.unwrap();
    admin.achievements().list().page().await.unwrap();
    admin.communities().list().page().await.unwrap();
    admin.leaderboards().list().page().await.unwrap();
    mine.me().get().await.unwrap();
    mine.me().rewards().page().await.unwrap();
    mine.me().reward_entries().page().await.unwrap();
    mine.challenges().list().page().await.unwrap();
    mine.challenge_groups().list().page().await.unwrap();
    mine.actions().list().page().await.unwrap();
    mine.action_participations().list().page().await.unwrap();
    mine.rewards().list().page().await.unwrap();
    mine.achievements().list().page().await.unwrap();
    mine.leaderboards().list().page().await.unwrap();
    assert_eq!(mock.received().on(Method::GET, "/**").len(), 18);
}

#[tokio::test]
async fn a_reward_is_created_changed_and_listed() {
    let (_mock, client) = start().await;
    let rewards = client.admin().rewards();
    let new = nudj_client::model::NewReward {
        community_id: Some("c".into()),
        details: Some(nudj_client::model::Details::titled("Mug")),
        asset_points_price: Some(12.5),
        status: Some(Status::Live),
        ..Default::default()
    };
    let reward = rewards.create(&new).await.unwrap();
    assert_eq!(reward.asset_points_price, Some(12.5));
    let change = nudj_client::model::NewReward { status: Some(Status::Archived), ..Default::default() };
    assert_eq!(rewards.update(&reward.id, &change).await.unwrap().status, Some(Status::Archived));
}

#[tokio::test]
async fn content_is_asked_for_in_the_language_that_was_set() {
    let (mock, client) = start().await;
    client.with_language("de").unwrap().admin().rewards().list().page().await.unwrap();
    client.admin().rewards().list().page().await.unwrap();
    let requests = mock.requests();
    assert_eq!(requests.iter().map(|request| request.header("x-language")).collect::<Vec<_>>(), [Some("de"), None]);
}

#[tokio::test]
async fn webhook_configurations_are_replaced_and_their_secrets_hidden() {
    use nudj_client::model::{WebhookConfig, WebhookSecret};
    let (_mock, client) = start().await;
    let webhooks = client.admin().webhooks();
    let config = WebhookConfig {
        url: Some("https://example.org/hooks".into()),
        events: Some(vec!["reward.earned".into()]),
        secret: Some(WebhookSecret::new("canary".to_owned())),
        active: Some(true),
        ..WebhookConfig::default()
    };
    webhooks.put_configs(std::slice::from_ref(&config)).await.unwrap();
    let stored = webhooks.configs().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0].url, &stored[0].events), (&config.url, &config.events));
    assert!(!format!("{config:?} {stored:?}").contains("canary"));
    webhooks.put_configs(&[]).await.unwrap();
    assert!(webhooks.configs().await.unwrap().is_empty());
    assert!(webhooks.logs().limit(5).page().await.unwrap().edges.is_empty());
}
