//! Which request gets which answer.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use nudj_webhook::{Receiver, Scheme};

use crate::harness::{
    Clock, NUDJ_SECRET, Notes, STANDARD_SECRET, START, USER_UPDATED, answer, config, delivery, nudj, request, send,
    signed_head, standard,
};

fn full(body: &[u8]) -> Full<Bytes> {
    Full::new(Bytes::copy_from_slice(body))
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_request_has_its_answer_and_its_counter() {
    let notes = Notes::default();
    let receiver = Receiver::builder()
        .config(config())
        .secret(NUDJ_SECRET)
        .on_any(notes.succeeding())
        .clock(Clock::start())
        .build()
        .unwrap();
    let service = receiver.service();

    let good = || delivery("d1", USER_UPDATED);
    let (status, _, text) = answer(&service, good()).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, r#"{"status":"accepted"}"#));
    let (status, _, text) = answer(&service, good()).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, r#"{"status":"duplicate"}"#));

    let forged = request(signed_head(&nudj(), "d2", START, b"other"), full(USER_UPDATED));
    let (status, head, text) = answer(&service, forged).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(head[CONNECTION], "close");
    assert!(!text.contains("signature"), "why is not told");
    assert_eq!(send(&service, Request::post("/").body(full(USER_UPDATED)).unwrap()).await, StatusCode::UNAUTHORIZED);

    for body in [&b"not json"[..], b"{}", b"[]", b"\xff\xfe"] {
        assert_eq!(send(&service, delivery("d3", body)).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(send(&service, delivery("d4", &[b' '; 4097])).await, StatusCode::PAYLOAD_TOO_LARGE);

    let mut get = good();
    *get.method_mut() = Method::GET;
    let (status, head, _) = answer(&service, get).await;
    assert_eq!((status, head[ALLOW].as_bytes()), (StatusCode::METHOD_NOT_ALLOWED, &b"POST"[..]));

    notes.reached(1).await;
    let report = receiver.shutdown(std::time::Duration::from_secs(1)).await;
    assert_eq!(report.left, 0);
    let (status, head, _) = answer(&service, delivery("d5", USER_UPDATED)).await;
    assert_eq!((status, head[RETRY_AFTER].as_bytes()), (StatusCode::SERVICE_UNAVAILABLE, &b"5"[..]));

    let counted = receiver.snapshot();
    assert_eq!((counted.accepted, counted.duplicate, counted.unauthorized), (1, 1, 2));
    assert_eq!((counted.not_an_event, counted.too_large, counted.wrong_method, counted.unavailable), (4, 1, 1, 1));
    assert_eq!((counted.handled, counted.queue_depth, counted.dead_letters), (1, 0, 0));
    assert_eq!(counted.rejected(), 8);
    assert_eq!(notes.ids(), ["d1"]);
}

#[tokio::test(start_paused = true)]
async fn delivery_refused_for_its_body_may_come_again_whole() {
    let receiver = Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let service = receiver.service();
    assert_eq!(send(&service, delivery("d1", b"{}")).await, StatusCode::BAD_REQUEST);
    assert_eq!(send(&service, delivery("d1", USER_UPDATED)).await, StatusCode::OK);
    assert_eq!(receiver.snapshot().accepted, 1);
}

#[tokio::test(start_paused = true)]
async fn standard_webhooks_are_taken_only_near_their_time() {
    let clock = Clock::start();
    let mut config = config();
    config.scheme = Scheme::Standard;
    let receiver = Receiver::builder().config(config).secret(STANDARD_SECRET).clock(clock).build().unwrap();
    let service = receiver.service();
    for (id, timestamp, status) in [
        ("late", START - 301, StatusCode::UNAUTHORIZED),
        ("future", START + 301, StatusCode::UNAUTHORIZED),
        ("absurd", i64::MIN, StatusCode::UNAUTHORIZED),
        ("edge", START - 300, StatusCode::OK),
        ("other_edge", START + 300, StatusCode::OK),
    ] {
        let head = signed_head(&standard(), id, timestamp, USER_UPDATED);
        assert_eq!(send(&service, request(head, full(USER_UPDATED))).await, status, "{id}");
    }
    // What was accepted is refused once it is old, long before its id is forgotten.
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let head = signed_head(&standard(), "edge", START - 300, USER_UPDATED);
    assert_eq!(send(&service, request(head, full(USER_UPDATED))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(receiver.snapshot().accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn static_header_scheme_takes_the_id_of_the_body() {
    let notes = Notes::default();
    let mut config = config();
    config.scheme = Scheme::StaticHeader;
    let receiver = Receiver::builder()
        .config(config)
        .secret("Bearer your-secret")
        .on("challenge-completion", notes.succeeding())
        .build()
        .unwrap();
    let service = receiver.service();
    let body = |id: &str| format!(r#"{{"id":"{id}","eventSubCategory":"challenge-completion","payload":{{}}}}"#);
    let send = |secret: &'static str, id: &str| {
        let request = Request::post("/").header("authorization", secret).body(full(body(id).as_bytes())).unwrap();
        send(&service, request)
    };
    assert_eq!(send("Bearer wrong", "e1").await, StatusCode::UNAUTHORIZED);
    for (id, status) in [("e1", StatusCode::OK), ("e1", StatusCode::OK), ("e2", StatusCode::OK)] {
        assert_eq!(send("Bearer your-secret", id).await, status);
    }
    notes.reached(2).await;
    assert_eq!(notes.ids(), ["e1", "e2"]);
}

#[tokio::test(start_paused = true)]
async fn event_of_a_time_out_of_bounds_is_refused_when_asked_for() {
    let mut config = config();
    config.max_event_age = Some(std::time::Duration::from_secs(300));
    let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let service = receiver.service();
    for (timestamp, status) in [
        (START.to_string(), StatusCode::OK),
        ((START * 1000).to_string(), StatusCode::OK),
        ("\"2025-10-09T08:53:20Z\"".to_owned(), StatusCode::OK),
        ((START - 301).to_string(), StatusCode::UNAUTHORIZED),
        ((START + 301).to_string(), StatusCode::UNAUTHORIZED),
        (i64::MIN.to_string(), StatusCode::UNAUTHORIZED),
        ("null".to_owned(), StatusCode::UNAUTHORIZED),
    ] {
        let body = format!(r#"{{"event":"user.updated","timestamp":{timestamp}}}"#);
        assert_eq!(
            send(&service, delivery(&format!("d{timestamp}").replace('"', ""), body.as_bytes())).await,
            status,
            "{timestamp}"
        );
    }
}

#[tokio::test]
async fn unusable_settings_are_refused_when_built() {
    let missing = Receiver::builder().build().unwrap_err();
    assert!(missing.to_string().contains("secret"), "{missing}");
    let mut wrong = config();
    wrong.path = "/{*all}".to_owned();
    assert!(Receiver::builder().config(wrong).secret("s").build().is_err());
}

#[test]
fn building_outside_a_runtime_is_an_error() {
    assert!(matches!(Receiver::builder().secret("s").build(), Err(nudj_webhook::Error::NoRuntime)));
}

#[tokio::test]
async fn router_answers_at_its_path_only() {
    use tower::ServiceExt as _;

    let receiver = Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let to = |path: &str| {
        let mut request = delivery("d1", USER_UPDATED).map(axum::body::Body::new);
        *request.uri_mut() = path.parse().unwrap();
        receiver.router().oneshot(request)
    };
    assert_eq!(to("/webhooks").await.unwrap().status(), StatusCode::OK);
    assert_eq!(to("/other").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn refusal_closes_the_connection_where_http_has_a_word_for_it() {
    let receiver = Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    for (version, closes) in [(http::Version::HTTP_11, true), (http::Version::HTTP_2, false)] {
        let mut request = Request::post("/").body(full(b"")).unwrap();
        *request.version_mut() = version;
        let (status, head, _) = answer(&receiver.service(), request).await;
        assert_eq!((status, head.contains_key(CONNECTION)), (StatusCode::UNAUTHORIZED, closes));
    }
    let (_, head, _) = answer(&receiver.service(), delivery("d1", USER_UPDATED)).await;
    assert!(!head.contains_key(CONNECTION));
}
