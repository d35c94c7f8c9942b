//! Webhooks: configurations, deliveries, the log. The receiver is a second mock, whose log shows what arrived.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use nudj_mock::{Fault, MockError, MockNudj, WebhookEvent, webhook_signature};
use serde_json::{Value, json};

use crate::client::{call, get};

const CONFIGS: &str = "/api/v2/admin/webhooks/configs";
const LOGS: &str = "/api/v2/admin/webhooks/logs";

/// A receiver that takes what comes, after these failures.
async fn receiver(failures: &[u16]) -> MockNudj {
    let receiver = MockNudj::start().await.unwrap();
    receiver.inject(Fault::statuses(failures.iter().copied()));
    receiver.inject(Fault::status(204));
    receiver
}

fn soon(event: WebhookEvent) -> WebhookEvent {
    event.retry_delay(Duration::from_millis(1))
}

#[tokio::test]
async fn a_dotted_event_is_signed_and_repeated_under_one_delivery_id() {
    let (mock, receiver) = (MockNudj::start().await.unwrap(), receiver(&[503, 500]).await);
    let event = soon(WebhookEvent::dotted("reward.earned", json!({"reward": {"id": "r"}})));
    let delivery = mock.send_webhook(&format!("{}/hook?x=1", receiver.url()), Some("secret"), &event).await.unwrap();
    assert!(delivery.delivered());
    assert_eq!((delivery.attempts, receiver.request_count()), (3, 3));
    for arrived in receiver.requests() {
        assert_eq!(
            (arrived.path.as_str(), arrived.query.as_deref(), &arrived.method),
            ("/hook", Some("x=1"), &Method::POST)
        );
        assert_eq!(arrived.header("x-nudj-event"), Some("reward.earned"));
        assert_eq!(arrived.header("x-nudj-delivery-id"), Some(delivery.delivery_id.as_str()));
        assert_eq!(arrived.header("x-nudj-signature"), Some(webhook_signature("secret", &arrived.body).as_str()));
        let body = arrived.json().unwrap();
        assert_eq!((&body["event"], &body["data"]["reward"]["id"]), (&json!("reward.earned"), &json!("r")));
        assert!(body["timestamp"].is_string());
    }
    let logs = get(&mock.service(), LOGS).await.json;
    let seen: Vec<_> = logs["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|log| (log["status"].as_str().unwrap(), log["responseStatus"].as_u64()))
        .collect();
    assert_eq!(seen, [("delivered", Some(204)), ("retrying", Some(500)), ("retrying", Some(503))]);
    assert_eq!(get(&mock.service(), &format!("{LOGS}?status=delivered&success=true")).await.json["totalCount"], 1);
    assert_eq!(get(&mock.service(), &format!("{LOGS}?event=other")).await.json["totalCount"], 0);
    assert_eq!(get(&mock.service(), &format!("{LOGS}?until=2001-01-01")).await.json["totalCount"], 0);
    assert_eq!(get(&mock.service(), &format!("{LOGS}?since=never")).await.refusal().0, 400);
    assert!(!logs.to_string().contains("secret"));
}

#[tokio::test]
async fn a_kebab_event_has_its_own_body_and_headers() {
    let (mock, receiver) = (MockNudj::start().await.unwrap(), receiver(&[]).await);
    let authorization = HeaderName::from_static("authorization");
    let event = WebhookEvent::kebab("challenge-completion", json!({"score": 100}))
        .user("u")
        .delivery_id("d-1")
        .header(authorization, HeaderValue::from_static("Bearer mine"));
    for _ in 0..2 {
        mock.send_webhook(&receiver.url(), None, &event).await.unwrap();
    }
    // The same id twice is a duplicate for the receiver to find.
    for arrived in receiver.requests() {
        let body = arrived.json().unwrap();
        assert_eq!(
            (&body["id"], &body["eventCategory"], &body["userId"]),
            (&json!("d-1"), &json!("challenge"), &json!("u"))
        );
        assert_eq!(body["payload"], json!({"score": 100}));
        assert_eq!((arrived.header("authorization"), arrived.header("x-nudj-signature")), (Some("Bearer mine"), None));
    }
    assert_eq!(receiver.request_count(), 2);
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_a_dead_receiver_is_given_up() {
    let (mock, receiver) = (MockNudj::start().await.unwrap(), receiver(&[400]).await);
    let event = soon(WebhookEvent::dotted("a.b", Value::Null));
    let refused = mock.send_webhook(&receiver.url(), None, &event).await.unwrap();
    assert_eq!((refused.attempts, refused.delivered(), refused.status.unwrap().as_u16()), (1, false, 400));
    receiver.kill(0).await.unwrap();
    let dead = mock.send_webhook(&receiver.url(), None, &event.clone().max_retries(1)).await.unwrap();
    assert_eq!((dead.attempts, dead.status, dead.error.is_some()), (2, None, true));
    receiver.revive(0).await.unwrap();
    receiver.clear_faults();
    receiver.inject(Fault::hang());
    let slow = event.max_retries(0).answer_within(Duration::from_millis(20));
    let hung = mock.send_webhook(&receiver.url(), None, &slow).await.unwrap();
    assert_eq!(hung.error.as_deref(), Some("no answer in time"));
    for url in ["https://localhost/", "/hook", "not a url", "http://"] {
        assert!(matches!(mock.send_webhook(url, None, &slow).await, Err(MockError::Data { .. })), "{url}");
    }
}

#[tokio::test]
async fn a_forged_delivery_can_be_sent() {
    let (mock, receiver) = (MockNudj::start().await.unwrap(), receiver(&[]).await);
    let forged = WebhookEvent::dotted("a.b", Value::Null)
        .raw_body(b"\xff not json".to_vec())
        .header(HeaderName::from_static("x-nudj-signature"), HeaderValue::from_static("sha256=00"));
    mock.send_webhook(&receiver.url(), Some("secret"), &forged).await.unwrap();
    let arrived = &receiver.requests()[0];
    assert_eq!((arrived.body.as_ref(), arrived.header("x-nudj-signature")), (&b"\xff not json"[..], Some("sha256=00")));
    assert!(mock.send_webhook(&receiver.url(), None, &WebhookEvent::dotted("a\nb", Value::Null)).await.is_err());
}

#[tokio::test]
async fn configurations_are_replaced_as_a_list_and_decide_who_is_told() {
    let (mock, receiver) = (MockNudj::start().await.unwrap(), receiver(&[]).await);
    let at = |path: &str| format!("{}{path}", receiver.url());
    let configs = json!([
        {"url": at("/one"), "events": ["a.b"], "secret": "one"},
        {"url": at("/two"), "events": ["a.b", "c.d"], "isEnabled": true, "headers": {"authorization": "Bearer two"}, "maxRetries": 0},
        {"url": at("/off"), "events": ["a.b"], "active": false},
        {"url": at("/off"), "events": ["a.b"], "isEnabled": false},
        {"url": at("/other"), "events": ["c.d"]},
    ]);
    let put = |body: Value| {
        let mock = mock.service();
        async move { call(&mock, Method::PUT, CONFIGS, Some(body)).await }
    };
    assert_eq!(put(configs.clone()).await.status, 200);
    let wrapped = put(json!({"configs": configs})).await.json;
    let kept = get(&mock.service(), CONFIGS).await.json;
    assert_eq!((&wrapped, kept["configs"].as_array().unwrap().len()), (&kept, 5));
    let deliveries = mock.deliver(&WebhookEvent::dotted("a.b", Value::Null)).await.unwrap();
    assert!(deliveries.len() == 2 && deliveries.iter().all(nudj_mock::WebhookDelivery::delivered));
    let arrived = receiver.requests();
    assert_eq!(arrived.iter().map(|arrived| arrived.path.as_str()).collect::<Vec<_>>(), ["/one", "/two"]);
    assert!(arrived[0].header("x-nudj-signature").is_some() && arrived[1].header("x-nudj-signature").is_none());
    assert_eq!(arrived[1].header("authorization"), Some("Bearer two"));
    let config = kept["configs"][0]["id"].as_str().unwrap();
    assert_eq!(get(&mock.service(), &format!("{LOGS}?webhookConfigId={config}")).await.json["totalCount"], 1);
    for wrong in [
        json!({}),
        json!([{"events": ["a"]}]),
        json!([{"url": "ftp://x", "events": ["a"]}]),
        json!([{"url": "http://x", "events": []}]),
        json!([{"url": "http://x", "events": [1]}]),
        Value::Array(vec![configs[0].clone(); 101]),
    ] {
        assert_eq!(put(wrong).await.refusal().0, 400);
    }
    assert_eq!(get(&mock.service(), CONFIGS).await.json, kept);
}
