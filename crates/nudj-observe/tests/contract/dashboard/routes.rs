//! What each route answers.

use std::time::Duration;

use http::{StatusCode, header};
use nudj_client::{Client, Config};
use nudj_mock::MockNudj;
use nudj_observe::dashboard::{Dashboard, DashboardConfig};
use serde_json::json;

use super::{dashboard, get, snapshot, text};

#[tokio::test]
async fn the_page_is_one_document_that_may_load_nothing() {
    let response = get(&dashboard(), "/").await;
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    for part in
        ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let html = text(response).await;
    assert!(html.starts_with("<!doctype html>") && html.contains("aria-live"), "{html}");
    assert!(html.len() < 64 * 1024, "{} bytes", html.len());
}

#[tokio::test]
async fn the_snapshot_shows_the_clients_layers_and_no_secret() {
    const TOKEN: &str = "canary-token-7f3a";
    let mock = MockNudj::builder().instances(2).token(TOKEN).start().await.unwrap();
    let dashboard = dashboard();
    let config = Config::with_endpoints(mock.urls());
    let client = Client::builder().config(config).token(TOKEN).observer(dashboard.observer()).build().unwrap();
    dashboard.watch(&client);
    for _ in 0..6 {
        client.integration().me().get().await.unwrap();
    }
    let error = client.request(http::Method::GET, "/api/v2/nowhere").send().await.map(drop).unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    let seen = snapshot(&dashboard).await;
    let endpoints = seen["endpoints"].as_array().unwrap();
    let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 2);
    assert!(endpoints.iter().all(|endpoint| endpoint["breaker"]["state"] == "closed"), "{seen:#}");
    let calls: u64 = endpoints.iter().map(|endpoint| endpoint["calls"].as_u64().unwrap()).sum();
    assert_eq!(calls, 7);
    assert_eq!(seen["limiter"]["granted"], 7);
    assert_eq!(seen["credentials"]["generation"], 1);
    assert!(seen["retry_budget"].as_u64().unwrap() > 0);
    let failure = &seen["errors"]["rows"][0];
    assert_eq!((&failure["status"], &failure["error"]), (&json!(404), &json!("404")));
    assert_eq!(failure["kind"], "client_error", "{failure:#}");
    assert!(failure["correlation_id"].as_str().unwrap().len() > 20, "{failure:#}");
    assert!(!seen.to_string().contains(TOKEN), "{seen:#}");
}

#[tokio::test(start_paused = true)]
async fn what_the_user_adds_is_shown_and_one_that_panics_harms_nobody() {
    let dashboard = dashboard();
    assert!(dashboard.cache("rewards", || json!({"hits": 3})));
    assert!(dashboard.cache("broken", || -> u32 { panic!("the user's own mistake") }));
    assert!(dashboard.webhooks("nudj", || json!({"accepted": 2})));
    dashboard.sync("users").set(5, Some(10), Some(Duration::from_millis(1500)));
    let seen = snapshot(&dashboard).await;
    assert_eq!(seen["caches"][0], json!({"name": "rewards", "stats": {"hits": 3}}));
    assert_eq!(seen["caches"][1]["stats"], json!(null));
    assert_eq!(seen["webhooks"][0]["stats"]["accepted"], 2);
    let sync = &seen["syncs"][0];
    assert_eq!((&sync["name"], &sync["done"], &sync["lag_ms"]), (&json!("users"), &json!(5), &json!(1500)));
    let fitted = (0..20).filter(|number| dashboard.cache(&format!("cache {number}"), || 0)).count();
    assert_eq!(fitted, 6, "eight names and no more");
}

#[test]
fn a_field_out_of_range_is_named() {
    let default = DashboardConfig::default;
    let rows = [
        (DashboardConfig { title: String::new(), ..default() }, "title"),
        (DashboardConfig { max_viewers: 0, ..default() }, "max_viewers"),
        (DashboardConfig { recent_errors: 501, ..default() }, "recent_errors"),
        (DashboardConfig { recent_events: 1001, ..default() }, "recent_events"),
        (DashboardConfig { hosts: vec!["a.example:8080".to_owned()], ..default() }, "hosts"),
        (DashboardConfig { hosts: vec![String::new()], ..default() }, "hosts"),
    ];
    for (config, field) in rows {
        assert_eq!(Dashboard::new(config).unwrap_err().field(), field);
    }
    assert!(serde_json::from_value::<DashboardConfig>(json!({"max_viewer": 3})).is_err());
}
