//! What is counted, read the way Prometheus reads it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http::{Method, Request};
use http_body_util::BodyExt;
use nudj_mock::{Fault, MockNudj};
use nudj_observe::{
    metrics::{ALL, CacheLevel, Kind, WebhookTotals},
    prometheus::Prometheus,
};
use nudj_tower::{
    CallContext, Route,
    circuit_breaker::State,
    classify::{ERROR_KINDS, Outcome},
    observe::{Event, Observer},
};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::client;

/// The value of the first series whose line begins with `start`.
pub(crate) fn value(text: &str, start: &str) -> Option<f64> {
    text.lines().find(|line| line.starts_with(start)).and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

/// The sum over all series of this metric whose labels hold `part`.
pub(crate) fn sum(text: &str, metric: &str, part: &str) -> f64 {
    text.lines()
        .filter(|line| {
            line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(part)
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

async fn scrape(router: Router) -> String {
    let answer = router.oneshot(Request::get("/metrics").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// The end of a call that took no time.
fn ended<'a>(
    context: &'a CallContext,
    method: Option<&'static str>,
    outcome: Outcome,
    status: Option<u16>,
    error: Option<&'a str>,
) -> Event<'a> {
    let (outcome, duration, at, attempts) = (Some(outcome), Duration::ZERO, Instant::now(), None);
    Event::CallEnded { context, method, outcome, status, error, duration, at, attempts }
}

#[tokio::test]
async fn calls_repeats_and_endpoints_are_counted() {
    let mock = MockNudj::start_many(2).await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    prometheus.observer().watch(client.handles());
    mock.inject(Fault::status(503).times(1));
    for _ in 0..4 {
        client.integration().me().get().await.unwrap();
    }
    client.request(Method::GET, "/api/v2/admin/users/nobody").send().await.unwrap_err();

    let text = scrape(prometheus.router()).await;
    assert_eq!(value(&text, r#"nudj_api_requests_total{operation="getMe",status="200"}"#), Some(4.0), "{text}");
    assert_eq!(sum(&text, "nudj_api_requests_total", r#"operation="_OTHER",status="404""#), 1.0);
    assert_eq!(value(&text, r#"nudj_api_duration_seconds_count{operation="getMe"}"#), Some(4.0));
    assert_eq!(
        sum(&text, "http_client_request_duration_seconds_count", r#"url_template="/api/v2/integration/me""#),
        4.0
    );
    assert_eq!(sum(&text, "http_client_request_duration_seconds_count", r#"error_type="404""#), 1.0);
    assert_eq!(sum(&text, "http_client_request_duration_seconds_count", r#"server_address="127.0.0.1""#), 5.0);
    assert_eq!(sum(&text, "nudj_attempts_total", ""), 6.0);
    assert_eq!(sum(&text, "nudj_attempts_total", r#"outcome="failure""#), 1.0);
    assert_eq!(sum(&text, "nudj_retries_total", ""), 1.0);
    assert_eq!(value(&text, "nudj_retry_amplification_ratio"), Some(1.2));
    assert_eq!(sum(&text, "nudj_endpoint_calls_total", ""), 6.0);
    assert_eq!(sum(&text, "nudj_endpoint_failures_total", ""), 1.0);
    assert_eq!(sum(&text, "nudj_endpoint_available", ""), 2.0);
    assert_eq!(value(&text, "http_client_active_requests"), Some(0.0));
    assert!(value(&text, "nudj_retry_budget_left").unwrap() > 90.0);
    assert_eq!(value(&text, "nudj_limiter_queue_depth"), Some(0.0));
    assert!(!text.contains("nobody"), "a path became a label");
}

#[tokio::test]
async fn a_breaker_has_no_state_before_one_is_told() {
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    observer.observe(&Event::BreakerRefused { name: "a" });
    let text = prometheus.render();
    assert_eq!(value(&text, "nudj_circuit_breaker_refusals_total{endpoint=\"a\"}"), Some(1.0));
    assert_eq!(value(&text, "nudj_circuit_breaker_state{"), None, "or it would be seen in none of them");
    observer.observe(&Event::BreakerChanged { name: "a", from: "closed", to: "open", retry_after: None });
    assert_eq!(sum(&prometheus.render(), "nudj_circuit_breaker_state", "a"), 1.0);
}

#[tokio::test]
async fn exactly_one_state_of_a_breaker_is_one() {
    let mock = MockNudj::start_many(2).await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    prometheus.observer().watch(client.handles());
    let (first, second) = (mock.urls()[0].clone(), mock.urls()[1].clone());
    let state = |endpoint: &str| {
        let text = prometheus.render();
        let all: Vec<_> = State::ALL
            .iter()
            .map(|state| {
                let start = format!("nudj_circuit_breaker_state{{endpoint=\"{endpoint}\",state=\"{state}\"}}");
                (state.as_str(), value(&text, &start))
            })
            .collect();
        let ones: Vec<_> = all.iter().filter(|(_, value)| *value == Some(1.0)).map(|(state, _)| *state).collect();
        assert!(all.iter().all(|(_, value)| value.is_some()), "{all:?}");
        assert_eq!(ones.len(), 1, "{all:?}");
        ones[0]
    };
    assert_eq!((state(&first), state(&second)), ("closed", "closed"));
    mock.kill(0).await.unwrap();
    for _ in 0..12 {
        let _ = client.integration().me().get().await;
    }
    assert_eq!((state(&first), state(&second)), ("open", "closed"));
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_transitions_total", r#"from="closed",to="open""#), 1.0);
    assert_eq!(value(&text, &format!("nudj_endpoint_available{{endpoint=\"{first}\"}}")), Some(0.0));
    client.handles().breakers()[0].reset();
    assert_eq!(state(&first), "closed");

    assert!(client.handles().endpoints().remove(&first));
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", &first), 0.0, "an endpoint that is no more has a state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_during_changes_sees_one_state_too() {
    let mock = MockNudj::start().await.unwrap();
    let prometheus = Prometheus::new().unwrap();
    let client = client(&mock, prometheus.observer().clone());
    prometheus.observer().watch(client.handles());
    let breaker = client.handles().breakers().remove(0);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let changes = tokio::task::spawn_blocking(move || {
        while !stopped.load(Relaxed) {
            breaker.force_open();
            breaker.reset();
        }
    });
    for _ in 0..200 {
        let text = prometheus.render();
        assert_eq!(sum(&text, "nudj_circuit_breaker_state", ""), 1.0, "{text}");
    }
    stop.store(true, Relaxed);
    changes.await.unwrap();
    let text = prometheus.render();
    assert_eq!(sum(&text, "nudj_circuit_breaker_state", r#"state="closed""#), 1.0, "the last change stands");
}

#[tokio::test]
async fn a_million_users_and_a_hostile_server_make_few_series() {
    const ROUTE: Route = Route { operation: "getUser", template: "/api/v2/admin/users/{id}" };
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    let call = |endpoint: &str, status: u16| {
        let context = CallContext::new();
        context.set_route(ROUTE);
        context.record_try(1, &endpoint.into(), 0);
        observer.observe(&ended(&context, Some("GET"), Outcome::Success, Some(status), None));
    };
    (0..1_000_000).for_each(|_| call("https://acme.nudj.cx", 200));
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    let lines = series(&prometheus.render());
    assert!(lines <= 200, "{lines}");

    for number in 0..20_000_u32 {
        let endpoint = format!("https://{number}.example");
        call(&endpoint, u16::try_from(100 + number % 900).unwrap());
        observer.observe(&Event::AttemptEnded { endpoint: &endpoint, outcome: None });
        observer.observe(&Event::BreakerChanged { name: &endpoint, from: "closed", to: "open", retry_after: None });
        observer.observe(&Event::CredentialRefreshed { provider: &endpoint, renewed: true, valid_for: None });
        observer.sync(&endpoint).set_lag_bytes(1);
    }
    let most = series(&prometheus.render());
    observer.observe(&Event::AttemptEnded { endpoint: "https://one-more.example", outcome: None });
    assert!(most < 12_000, "{most}");
    assert_eq!(series(&prometheus.render()), most);
}

#[tokio::test]
async fn a_success_is_no_failure_when_it_finds_no_room_nor_when_it_has_no_status() {
    let prometheus = Prometheus::new().unwrap();
    let call = |route: Route, outcome, status, error| {
        let context = CallContext::new();
        context.set_route(route);
        prometheus.observer().observe(&ended(&context, None, outcome, status, error));
    };
    const RPC: Route = Route { operation: "rpc", template: "/rpc" };
    call(RPC, Outcome::Success, None, None);
    call(RPC, Outcome::Failure, None, None);
    let text = prometheus.render();
    for (status, error_type) in [("ok", None), ("_OTHER", Some("_OTHER"))] {
        assert_eq!(
            value(&text, &format!("nudj_api_requests_total{{operation=\"rpc\",status=\"{status}\"}}")),
            Some(1.0)
        );
        let error_type = error_type.map_or(String::new(), |error| format!(",error_type=\"{error}\""));
        let series = format!(
            "http_client_request_duration_seconds_count{{http_request_method=\"_OTHER\",url_template=\"/rpc\"{error_type}}}"
        );
        assert_eq!(value(&text, &series), Some(1.0), "{series}\n{text}");
    }

    // With the two above there is no more room.
    for number in 0..510 {
        let operation = format!("operation{number}").leak();
        call(Route { operation, template: "/full" }, Outcome::Success, Some(200), None);
    }
    for (times, outcome, status, error) in [
        (1, Outcome::Success, Some(200), None),
        (2, Outcome::Success, Some(304), None),
        (3, Outcome::Ignored, Some(404), Some("404")),
        (4, Outcome::Failure, Some(503), Some("503")),
        (5, Outcome::Failure, Some(999), None),
        (6, Outcome::Failure, None, Some("timeout")),
        (7, Outcome::Success, None, None),
    ] {
        let late = Route { operation: "late", template: "/late" };
        (0..times).for_each(|_| call(late, outcome, status, error));
    }
    let text = prometheus.render();
    assert!(!text.contains("/late"), "there is no room for it");
    for (status, times) in
        [("2xx", 1.0), ("3xx", 2.0), ("4xx", 3.0), ("5xx", 4.0), ("_OTHER", 5.0), ("timeout", 6.0), ("ok", 7.0)]
    {
        let series = format!("nudj_api_requests_total{{operation=\"_OTHER\",status=\"{status}\"}}");
        assert_eq!(value(&text, &series), Some(times), "{series}");
    }
    let others = |error_type: &str| {
        let series =
            format!("http_client_request_duration_seconds_count{{http_request_method=\"_OTHER\"{error_type}}}");
        value(&text, &series)
    };
    assert_eq!(others(""), Some(1.0 + 2.0 + 7.0));
    assert_eq!(others(",error_type=\"_OTHER\""), Some(3.0 + 4.0 + 5.0));
    assert_eq!(others(",error_type=\"timeout\""), Some(6.0));
}

#[tokio::test]
async fn kinds_of_error_have_their_names_and_free_text_has_none() {
    let (prometheus, context) = (Prometheus::new().unwrap(), CallContext::new());
    for error in ERROR_KINDS.into_iter().chain(["any words"]) {
        prometheus.observer().observe(&ended(&context, Some("GET"), Outcome::Failure, None, Some(error)));
    }
    let text = prometheus.render();
    for kind in ERROR_KINDS.into_iter().chain(["_OTHER"]) {
        assert_eq!(sum(&text, "nudj_api_requests_total", &format!("status=\"{kind}\"")), 1.0, "{kind}");
    }
    assert!(!text.contains("any words"));
}

#[tokio::test]
async fn what_is_watched_is_read_at_each_scrape() {
    let prometheus = Prometheus::new().unwrap();
    let observer = prometheus.observer();
    observer.watch_cache(|| {
        let memory =
            CacheLevel { name: "memory", hits: 7, misses: 2, entries: Some(3), up: true, ..CacheLevel::default() };
        vec![memory, CacheLevel { name: "redis", errors: 4, ..CacheLevel::default() }]
    });
    observer.watch_webhooks(|| WebhookTotals {
        accepted: 5,
        queue_depth: 1,
        dead_letters: 2,
        ..WebhookTotals::default()
    });
    let users = observer.sync("users");
    users.set_lag(Duration::from_millis(1500));
    users.set_lag_bytes(4096);
    users.set_progress(10, 40);
    users.set_dead_letters(1);
    observer.observe(&Event::CredentialRefreshed { provider: "oauth", renewed: false, valid_for: None });
    observer.observe(&Event::LimiterWaited { waited: Duration::from_millis(20) });
    observer.observe(&Event::LimiterRefused { queue_full: true });
    observer.observe(&Event::RetryBudgetExhausted);

    let text = prometheus.render();
    for (series, expected) in [
        (r#"nudj_cache_hits_total{level="memory"}"#, 7.0),
        (r#"nudj_cache_misses_total{level="memory"}"#, 2.0),
        (r#"nudj_cache_entries{level="memory"}"#, 3.0),
        (r#"nudj_cache_errors_total{level="redis"}"#, 4.0),
        (r#"nudj_cache_up{level="redis"}"#, 0.0),
        (r#"nudj_webhook_deliveries_total{result="accepted"}"#, 5.0),
        ("nudj_webhook_queue_depth", 1.0),
        (r#"nudj_dead_letters{source="webhook"}"#, 2.0),
        (r#"nudj_dead_letters{source="users"}"#, 1.0),
        (r#"nudj_sync_lag_seconds{stream="users"}"#, 1.5),
        (r#"nudj_sync_lag_bytes{stream="users"}"#, 4096.0),
        (r#"nudj_sync_items_done{stream="users"}"#, 10.0),
        (r#"nudj_sync_items_planned{stream="users"}"#, 40.0),
        (r#"nudj_credential_refreshes_total{provider="oauth",result="failed"}"#, 1.0),
        ("nudj_limiter_wait_seconds_count", 1.0),
        (r#"nudj_limiter_refusals_total{reason="queue_full"}"#, 1.0),
        ("nudj_retry_budget_exhausted_total", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series}\n{text}");
    }
}

#[tokio::test]
async fn what_is_exported_stands_in_the_catalogue() {
    let text = crate::promtool::everything().await;
    let mut seen = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let metric = ALL.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is not listed"));
        let listed = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            _ => "histogram",
        };
        assert_eq!(kind, listed, "{name}");
        for series in text.lines().filter(|line| line.starts_with(&format!("{name}{{"))) {
            let labels = series[name.len() + 1..].split('}').next().unwrap_or_default();
            for label in labels.split("\",").filter_map(|label| label.split('=').next()) {
                assert!(metric.labels.contains(&label), "{name} has a label {label}");
            }
        }
        seen += 1;
    }
    let missing: Vec<_> =
        ALL.iter().map(|metric| metric.name).filter(|name| !text.contains(&format!("# TYPE {name} "))).collect();
    assert!(missing.is_empty(), "listed and not exported: {missing:?}");
    assert_eq!(seen, ALL.len());
}

#[test]
fn without_a_runtime_it_says_so() {
    assert!(Prometheus::new().unwrap_err().to_string().contains("Tokio"));
}

#[tokio::test(start_paused = true)]
async fn histograms_are_drained_although_nobody_scrapes() {
    let prometheus = Prometheus::new().unwrap();
    prometheus.observer().observe(&Event::LimiterWaited { waited: Duration::from_millis(20) });
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 1);
    drop(prometheus);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "the task outlived the recorder");
}
