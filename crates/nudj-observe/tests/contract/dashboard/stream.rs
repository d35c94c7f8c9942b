//! The stream that keeps a page up to date.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use nudj_observe::dashboard::{Dashboard, DashboardConfig};
use nudj_tower::observe::Event;
use tokio::time::{Instant, sleep};

use super::{dashboard, get};

async fn watch(dashboard: &Dashboard) -> Body {
    let response = get(dashboard, "/events").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

async fn next(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

fn field<'e>(event: &'e str, name: &str) -> &'e str {
    event.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

fn number(event: &str) -> u64 {
    field(event, "id").parse().unwrap()
}

fn open(name: &str) -> Event<'_> {
    Event::BreakerChanged { name, from: "closed", to: "open", retry_after: None }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_gets_everything_once_and_then_a_frame_a_second() {
    let dashboard = dashboard();
    let mut body = watch(&dashboard).await;
    let first = next(&mut body).await.unwrap();
    assert!(first.starts_with("retry: 1000\nevent: hello\ndata: {\"controls\":false}\n\nevent: whole\n"), "{first}");
    assert!(serde_json::from_str::<serde_json::Value>(field(&first, "data")).unwrap()["errors"].is_object());
    next(&mut body).await.unwrap();
    for _ in 0..5 {
        let begun = Instant::now();
        let frame = next(&mut body).await.unwrap();
        assert_eq!((field(&frame, "event"), begun.elapsed()), ("frame", Duration::from_secs(1)));
        let data: serde_json::Value = serde_json::from_str(field(&frame, "data")).unwrap();
        assert!(data.get("errors").is_none(), "only when there are new ones: {data:#}");
        assert!(data["points"].as_array().unwrap().len() <= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_breakers_change_is_shown_at_once() {
    let dashboard = dashboard();
    let mut body = watch(&dashboard).await;
    next(&mut body).await.unwrap();
    next(&mut body).await.unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        dashboard.observer().observe(&open("a"));
    }
    let frame = next(&mut body).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_millis(100), "{:?}", begun.elapsed());
    assert!(frame.contains("closed → open"), "{frame}");
    let begun = Instant::now();
    next(&mut body).await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(500), "a hundred changes at once are one frame");
}

#[tokio::test(start_paused = true)]
async fn all_viewers_get_the_same_bytes() {
    let dashboard = dashboard();
    let (mut one, mut other) = (watch(&dashboard).await, watch(&dashboard).await);
    for _ in 0..3 {
        next(&mut one).await.unwrap();
        next(&mut other).await.unwrap();
    }
    let frames = (next(&mut one).await.unwrap(), next(&mut other).await.unwrap());
    assert_eq!(frames.0, frames.1);
    assert!(frames.0.contains("\"viewers\":2"), "{}", frames.0);
}

#[tokio::test(start_paused = true)]
async fn one_who_was_too_slow_for_some_frames_gets_everything_anew() {
    let dashboard = dashboard();
    let mut body = watch(&dashboard).await;
    next(&mut body).await.unwrap();
    sleep(Duration::from_millis(10_500)).await;
    let late = next(&mut body).await.unwrap();
    assert_eq!(field(&late, "event"), "whole");
    let frame = next(&mut body).await.unwrap();
    assert_eq!((field(&frame, "event"), number(&frame)), ("frame", number(&late) + 1));
}

#[tokio::test(start_paused = true)]
async fn viewers_are_bounded_and_a_place_is_free_again_after_its_viewer_left() {
    let dashboard = Dashboard::new(DashboardConfig { max_viewers: 2, ..DashboardConfig::default() }).unwrap();
    let (mut one, two) = (watch(&dashboard).await, watch(&dashboard).await);
    assert_eq!(get(&dashboard, "/events").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(two);
    let mut three = watch(&dashboard).await;
    // Of the two that are left, one goes on reading; the other has stopped, and has to go when another comes.
    next(&mut three).await.unwrap();
    for _ in 0..40 {
        next(&mut one).await.unwrap();
    }
    let _four = watch(&dashboard).await;
    assert!(next(&mut three).await.is_none());
    assert!(next(&mut one).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_while_nobody_looks() {
    let dashboard = dashboard();
    let mut body = watch(&dashboard).await;
    let mut last = 0;
    for _ in 0..3 {
        last = number(&next(&mut body).await.unwrap());
    }
    drop(body);
    sleep(Duration::from_secs(60)).await;
    let mut body = watch(&dashboard).await;
    let whole = next(&mut body).await.unwrap();
    assert_eq!(number(&whole), last, "no frame in a minute without viewers");
    assert!(number(&next(&mut body).await.unwrap()) > last, "and again with one");
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_stream_now_and_later() {
    let dashboard = dashboard();
    let mut body = watch(&dashboard).await;
    next(&mut body).await.unwrap();
    next(&mut body).await.unwrap();
    dashboard.close();
    assert!(next(&mut body).await.is_none());
    assert!(next(&mut watch(&dashboard).await).await.is_none());
}
