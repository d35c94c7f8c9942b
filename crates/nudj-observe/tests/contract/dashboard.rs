//! The dashboard over HTTP, and in a browser.

mod browser;
mod control;
mod routes;
mod stream;

use axum::{Router, body::Body};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use nudj_observe::dashboard::{Dashboard, DashboardConfig};
use tower::ServiceExt;

fn dashboard() -> Dashboard {
    Dashboard::new(DashboardConfig::default()).unwrap()
}

async fn send(dashboard: &Dashboard, request: Request<Body>) -> Response<Body> {
    let router: Router = dashboard.router();
    router.oneshot(request).await.unwrap()
}

async fn get(dashboard: &Dashboard, path: &str) -> Response<Body> {
    send(dashboard, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn snapshot(dashboard: &Dashboard) -> serde_json::Value {
    let response = get(dashboard, "/snapshot.json").await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).unwrap()
}
