//! Driving breakers from the page.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use nudj_client::{Client, Config};
use nudj_observe::dashboard::Dashboard;
use nudj_tower::circuit_breaker::State;

use super::{dashboard, get, send, snapshot};

const ENDPOINT: &str = "http://127.0.0.1:9";
const ALLOWED: &str = "x-allowed";

fn client(dashboard: &Dashboard) -> Client {
    let config = Config::with_endpoints([ENDPOINT]);
    let client = Client::builder().config(config).token("t").observer(dashboard.observer()).build().unwrap();
    dashboard.watch(&client);
    client
}

async fn order(dashboard: &Dashboard, change: impl FnOnce(&mut HeaderMap), body: String) -> StatusCode {
    let mut request = Request::post("/breakers")
        .header("host", "localhost:8080")
        .header("origin", "http://localhost:8080")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/json")
        .header("x-nudj-dashboard", "control")
        .header(ALLOWED, "yes")
        .body(Body::from(body))
        .unwrap();
    change(request.headers_mut());
    send(dashboard, request).await.status()
}

fn json(name: &str, action: &str) -> String {
    serde_json::json!({ "endpoint": name, "action": action }).to_string()
}

#[tokio::test]
async fn without_a_guard_nothing_can_be_driven() {
    let dashboard = dashboard();
    let client = client(&dashboard);
    let name = client.handles().breakers()[0].name().to_owned();
    assert_eq!(order(&dashboard, |_| {}, json(&name, "force_open")).await, StatusCode::NOT_FOUND);
    assert_eq!(client.handles().breakers()[0].state(), State::Closed);
    assert_eq!(get(&dashboard, "/breakers").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn whom_the_guard_accepts_can_force_a_breaker_open_and_closed_and_let_it_go() {
    let dashboard = dashboard();
    dashboard.controls(|parts| parts.headers.contains_key(ALLOWED));
    let client = client(&dashboard);
    let breaker = client.handles().breakers().remove(0);
    for (action, state) in
        [("force_open", State::ForcedOpen), ("force_closed", State::Disabled), ("automatic", State::Closed)]
    {
        assert_eq!(order(&dashboard, |_| {}, json(breaker.name(), action)).await, StatusCode::NO_CONTENT);
        assert_eq!(breaker.state(), state);
    }
    let told = snapshot(&dashboard).await["events"].to_string();
    assert!(told.contains("forced open from the dashboard"), "{told}");
}

#[tokio::test]
async fn nobody_else_can() {
    let dashboard = dashboard();
    dashboard.controls(|parts| parts.headers.contains_key(ALLOWED));
    let client = client(&dashboard);
    let breaker = client.handles().breakers().remove(0);
    let force = || json(breaker.name(), "force_open");
    let set = |name: &'static str, value: &'static str| {
        move |headers: &mut HeaderMap| drop(headers.insert(name, HeaderValue::from_static(value)))
    };
    let forbidden = StatusCode::FORBIDDEN;
    assert_eq!(order(&dashboard, |headers| drop(headers.remove(ALLOWED)), force()).await, forbidden);
    assert_eq!(order(&dashboard, set("origin", "http://evil.example"), force()).await, forbidden);
    assert_eq!(order(&dashboard, set("sec-fetch-site", "cross-site"), force()).await, forbidden);
    assert_eq!(order(&dashboard, set("content-type", "text/plain"), force()).await, forbidden);
    assert_eq!(order(&dashboard, |headers| drop(headers.remove("x-nudj-dashboard")), force()).await, forbidden);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn what_makes_no_sense_is_said() {
    let dashboard = dashboard();
    dashboard.controls(|_| true);
    let _client = client(&dashboard);
    let rows = [
        (json("another", "force_open"), StatusCode::NOT_FOUND),
        (json(ENDPOINT, "explode"), StatusCode::BAD_REQUEST),
        ("{".to_owned(), StatusCode::BAD_REQUEST),
        ("x".repeat(5000), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (body, status) in rows {
        assert_eq!(order(&dashboard, |_| {}, body.clone()).await, status, "{body}");
    }
}
