//! The page in headless Chromium, over a mock whose endpoint is killed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::post};
use http::{HeaderValue, Request};
use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_observe::dashboard::{Dashboard, DashboardConfig};
use nudj_tower::{CallContext, Route, TraceContext, classify::Outcome, observe::Event, round_robin::Endpoint};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::Command,
    time::{Instant, sleep},
};
use tower::{ServiceExt, service_fn};

use crate::needs;

const SCRIPT: &str = include_str!("browser.js");
const HOSTILE: &str = "<img src=x onerror=\"window.pwned=1;alert(1)\"><script>alert(2)</script>";
const TEST: &str = "an_endpoint_that_dies_is_shown_open_within_two_seconds";

/// Where CI keeps them: the folder that `NUDJ_SCREENSHOTS` names, else `target/screenshots`.
fn screenshots() -> PathBuf {
    let named = std::env::var_os("NUDJ_SCREENSHOTS").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn modules(folder: &str) -> PathBuf {
    let (folder, nested) = (Path::new(folder), Path::new(folder).join("node_modules"));
    if nested.is_dir() { nested } else { folder.to_owned() }
}

/// Twelve callers of a mock's three endpoints, and a synchronization that goes on.
async fn lively(mock: &MockNudj) -> Dashboard {
    let dashboard = Dashboard::new(DashboardConfig { title: "acme · nudj".into(), ..Default::default() }).unwrap();
    let mut config = Config::with_endpoints(mock.urls());
    config.retry.base_delay = Duration::from_millis(20);
    config.circuit_breaker.open_for = Duration::from_secs(5);
    config.rate_limit.max_requests = 90;
    let client = Client::builder().config(config).token(mock.token()).observer(dashboard.observer()).build().unwrap();
    dashboard.watch(&client);
    mock.inject(Fault::statuses([503]).on(http::Method::GET, "/api/v2/admin/users"));
    let _ = client.admin().users().list().page().await;
    let _ = client.admin().users().get("nobody-of-this-name").await;
    for caller in 0..12_u64 {
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                let _ = client.integration().me().get().await;
                sleep(Duration::from_millis(90 + 17 * (caller % 5))).await;
            }
        });
    }
    let (users, changes) = (dashboard.sync("users"), dashboard.sync("changes"));
    tokio::spawn(async move {
        for done in 0_u64.. {
            users.set((done * 37).min(9_000), Some(9_000), Some(Duration::from_millis(400 + 13 * (done % 20))));
            changes.set(done * 5, None, Some(Duration::from_millis(80 + done % 50)));
            sleep(Duration::from_millis(250)).await;
        }
    });
    let level = json!({"name": "memory", "hits": 1840, "misses": 122, "entries": 96, "bytes": 183_500, "up": true});
    let stats = json!({"levels": [level], "hits": 1840, "misses": 122, "coalesced": 49, "stale": 0});
    dashboard.cache("rewards", move || stats.clone());
    dashboard
}

/// Markup wherever a text can come from outside.
fn hostile() -> Dashboard {
    let dashboard = Dashboard::new(DashboardConfig { title: HOSTILE.chars().take(80).collect(), ..Default::default() });
    let dashboard = dashboard.unwrap();
    let config = Config::with_endpoints(["http://127.0.0.1:9"]);
    let client = Client::builder().config(config).token("t").observer(dashboard.observer()).build().unwrap();
    client.handles().endpoints().add(Endpoint::new(HOSTILE)).unwrap();
    dashboard.watch(&client);
    dashboard.cache(HOSTILE, || json!({"levels": [{"name": HOSTILE, "hits": HOSTILE, "up": false}], "hits": HOSTILE}));
    dashboard.webhooks(HOSTILE, || json!({HOSTILE: 1}));
    dashboard.sync(HOSTILE).set(1, Some(2), None);
    let observer = dashboard.observer();
    let context = CallContext::new();
    context.record_try(1, &Arc::from(HOSTILE), 0);
    let id = HeaderValue::from_str(HOSTILE).unwrap();
    context.set_ids(id, TraceContext::start(&mut fastrand::Rng::with_seed(1)));
    observer.observe(&Event::CallEnded {
        context: &context,
        method: Some("GET"),
        outcome: Some(Outcome::Failure),
        status: None,
        error: Some(HOSTILE),
        duration: Duration::from_millis(3),
        at: Instant::now(),
        attempts: None,
    });
    observer.observe(&Event::BreakerChanged { name: HOSTILE, from: "closed", to: "open", retry_after: None });
    dashboard
}

/// Nothing has been called, and nothing is watched.
fn empty() -> Dashboard {
    Dashboard::new(DashboardConfig::default()).unwrap()
}

/// Twenty endpoints with long names, some of them not as they should be.
fn many() -> Dashboard {
    let dashboard = Dashboard::new(DashboardConfig { title: "a fleet".into(), ..Default::default() }).unwrap();
    let name = |number: usize| format!("https://region-{number:02}.engagement.acme.nudj.cx/gateway");
    let config = Config::with_endpoints((1..=20).map(name));
    let client = Client::builder().config(config).token("t").observer(dashboard.observer()).build().unwrap();
    dashboard.watch(&client);
    client.handles().breakers()[13].force_open();
    client.handles().endpoints().mark_down(&name(7));
    let observer = dashboard.observer();
    let route = Route { operation: "getUser", template: "/api/v2/admin/users/{id}" };
    for call in 0..600_usize {
        let (context, endpoint) = (CallContext::new(), name(call % 20 + 1));
        context.set_route(route);
        context.record_try(1, &Arc::from(&*endpoint), 0);
        let failed = call % 97 == 0;
        let outcome = Some(if failed { Outcome::Failure } else { Outcome::Success });
        observer.observe(&Event::CallStarted { context: &context });
        observer.observe(&Event::AttemptEnded { endpoint: &endpoint, outcome });
        observer.observe(&Event::CallEnded {
            context: &context,
            method: Some("GET"),
            outcome,
            status: Some(if failed { 503 } else { 200 }),
            error: failed.then_some("503"),
            duration: Duration::from_millis(4 + (call * 37 % 90) as u64),
            at: Instant::now(),
            attempts: None,
        });
    }
    dashboard
}

/// One failed call of this operation.
fn failed(dashboard: &Dashboard, operation: &'static str) {
    let context = CallContext::new();
    context.set_route(Route { operation, template: "/" });
    dashboard.observer().observe(&Event::CallEnded {
        context: &context,
        method: Some("GET"),
        outcome: Some(Outcome::Failure),
        status: Some(503),
        error: Some("503"),
        duration: Duration::from_millis(3),
        at: Instant::now(),
        attempts: None,
    });
}

/// A dashboard that is another one from the restart on.
fn restarting() -> Router {
    let titled = |config: DashboardConfig| Dashboard::new(config).unwrap();
    let first = titled(DashboardConfig { title: "first".into(), ..Default::default() });
    failed(&first, "opOfTheFirst");
    (0..3).for_each(|_| first.observer().observe(&Event::RetryBudgetExhausted));
    let next = titled(DashboardConfig { title: "restarted".into(), recent_events: 0, ..Default::default() });
    failed(&next, "opOfTheNext");
    let current = Arc::new(Mutex::new(first.router::<()>()));
    let (shown, next) = (Arc::clone(&current), next.router());
    let service = service_fn(move |request: Request<Body>| {
        let router = shown.lock().unwrap().clone();
        router.oneshot(request)
    });
    let restart = async move || {
        *current.lock().unwrap() = next;
        first.close();
    };
    Router::new().nest_service("/again", service).route("/test/restart", post(restart))
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn drive(chromium: &str, node: &str, address: SocketAddr) -> Value {
    let output = Command::new("node")
        .args(["-e", SCRIPT, "--"])
        .arg(modules(node))
        .args([chromium, &format!("http://{address}")])
        .arg(screenshots())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_dies_is_shown_open_within_two_seconds() {
    let (Some(chromium), Some(node)) = (needs(TEST, "NUDJ_TEST_CHROMIUM"), needs(TEST, "NUDJ_TEST_NODE_MODULES"))
    else {
        return;
    };
    let mock = Arc::new(MockNudj::start_many(3).await.unwrap());
    let (dashboard, hostile, driven) = (lively(&mock).await, hostile(), lively(&mock).await);
    driven.controls(|_| true);
    let (to_kill, to_revive) = (Arc::clone(&mock), Arc::clone(&mock));
    let router = dashboard
        .router()
        .nest("/hostile", hostile.router())
        .nest("/driven", driven.router())
        .nest("/empty", empty().router())
        .nest("/many", many().router())
        .merge(restarting())
        .route("/test/kill", post(move || async move { to_kill.kill(1).await.unwrap() }))
        .route("/test/revive", post(move || async move { to_revive.revive(1).await.unwrap() }));
    let seen = drive(&chromium, &node, serve(router).await).await;

    let text = |field: &str| seen[field].as_str().unwrap_or_default();
    assert!(seen["openAfter"].as_u64().unwrap() < 2000, "{seen:#}");
    assert_eq!(seen["neverReloaded"], true, "{seen:#}");
    assert!(text("open").contains("Open") && text("open").contains("next probe in"), "{seen:#}");
    assert!(text("failing").contains("1 of 3 endpoints is open"), "{seen:#}");
    assert!(text("announced").contains("Open"), "{seen:#}");

    assert_eq!((&seen["errors"], &seen["dialogs"], &seen["violations"]), (&json!([]), &json!([]), &json!([])));
    for (what, too_wide) in seen["overflow"].as_object().unwrap() {
        assert_eq!(too_wide, &json!([]), "{what} is wider than the window");
    }
    assert!(text("copied").len() > 20 && text("copyLabel").contains(text("copied")), "{seen:#}");
    assert_eq!(seen["theme"], "dark", "{seen:#}");
    assert!(text("chart").contains("s before now"), "{seen:#}");
    assert_eq!(seen["unmarked"], json!([]), "focus is seen wherever it is");
    assert!(text("stale").contains("No data for"), "{seen:#}");

    let hostile = &seen["hostile"];
    assert_eq!((&hostile["markup"], &hostile["ran"]), (&json!(0), &json!(false)), "{seen:#}");
    assert!(hostile["literal"].as_u64().unwrap() >= 5, "{seen:#}");

    let empty = seen["empty"]["text"].as_str().unwrap();
    assert!(
        ["Waiting for the first call", "No client is attached", "no calls"].iter().all(|text| empty.contains(text))
    );
    assert!(!empty.contains("NaN") && !empty.contains("undefined") && !empty.contains("null"), "{empty}");
    let worst = json!(["forced_open held", "closed warn", "closed good"]);
    assert_eq!(seen["many"]["first"], worst, "of twenty endpoints the worst stand first");
    assert!(
        seen["many"]["tallest"].as_u64().unwrap() < 260,
        "twenty cards are small ones: {}",
        seen["many"]["tallest"]
    );

    assert!(text("before").contains("opOfTheFirst") && text("before").contains("3 times"), "{seen:#}");
    assert!(text("after").contains("opOfTheNext") && !text("after").contains("opOfTheFirst"), "{seen:#}");
    assert!(text("after").contains("Events are not kept") && !text("after").contains("budget spent"), "{seen:#}");

    assert_eq!((&seen["armed"], &seen["beforeSecondPress"]), (&json!("Sure? Press again"), &json!(0)));
    assert_eq!(seen["driven"], true);
}
