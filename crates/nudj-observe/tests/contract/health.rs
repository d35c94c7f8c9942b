//! Reports, their routes, and how little it costs to ask.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt;
use nudj_mock::{Fault, MockNudj};
use nudj_observe::health::{Check, CheckConfig, Finding, Health, Status};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

use crate::{client, needs};

fn uncached() -> CheckConfig {
    CheckConfig { cache_for: Duration::ZERO, ..CheckConfig::default() }
}

async fn get(health: &Health, path: &str) -> (u16, String) {
    let router: Router = health.router();
    let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
}

/// A check that counts, and how often it ran.
fn counting(wait: Duration) -> (impl Check, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let check = move || {
        count.fetch_add(1, Relaxed);
        async move {
            tokio::time::sleep(wait).await;
            Ok(Finding::Healthy)
        }
    };
    (check, runs)
}

#[tokio::test]
async fn the_report_has_the_seeds_fields() {
    let mock = MockNudj::start().await.unwrap();
    let client = client(&mock, |_: &nudj_tower::observe::Event<'_>| {});
    let health = Health::builder().client(&client, uncached()).build().unwrap();

    let (status, body) = get(&health, "/health").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &report["status"]), (200, &Value::from("healthy")), "{body}");
    assert!(report["timestamp"].as_str().unwrap().ends_with('Z'));
    for check in ["nudj_api", "authentication", "circuit_breakers"] {
        let check = &report["checks"][check];
        assert_eq!(check["status"], "healthy", "{body}");
        assert!(check["response_time_ms"].as_f64().unwrap() >= 0.0);
        assert!(check["last_success"].as_str().unwrap().ends_with('Z'));
        assert_eq!(check["consecutive_failures"], 0);
        assert!(check.get("error").is_none());
    }
    assert_eq!(mock.request_count(), 1, "both checks ask by one call");
    assert_eq!(get(&health, "/readyz").await, (200, "healthy".into()));
    assert_eq!(get(&health, "/livez").await, (200, "alive".into()));

    let last_success = report["checks"]["nudj_api"]["last_success"].clone();
    mock.kill(0).await.unwrap();
    for failures in 1..=2 {
        let (status, body) = get(&health, "/health").await;
        let report: Value = serde_json::from_str(&body).unwrap();
        let api = &report["checks"]["nudj_api"];
        assert_eq!(
            (status, &report["status"], &api["status"]),
            (503, &"unhealthy".into(), &"unhealthy".into()),
            "{body}"
        );
        assert_eq!(api["consecutive_failures"], failures);
        assert!(
            api["error"].as_str().unwrap().contains("connect") || api["error"].as_str().unwrap().contains("circuit")
        );
        assert_eq!(report["checks"]["authentication"]["status"], "degraded");
        assert!(api["last_success"].as_str() >= last_success.as_str(), "the last success is kept: {body}");
    }
    assert_eq!(get(&health, "/readyz").await, (503, "unhealthy".into()));
    assert_eq!(get(&health, "/livez").await, (200, "alive".into()), "a restart would not help");
    client.handles().breakers()[0].force_open();
    let report = health.report().await;
    assert_eq!(report.checks["circuit_breakers"].status, Status::Unhealthy);
}

#[tokio::test]
async fn a_refused_credential_is_not_an_unreachable_api() {
    let mock = MockNudj::start_many(2).await.unwrap();
    let client = client(&mock, |_: &nudj_tower::observe::Event<'_>| {});
    let health = Health::builder().client(&client, uncached()).build().unwrap();
    client.handles().breakers()[1].force_open();
    mock.revoke_token(mock.token());
    let report = health.report().await;
    let status = |name: &str| report.checks[name].status;
    assert_eq!(status("nudj_api"), Status::Healthy, "{report:?}");
    assert_eq!(status("authentication"), Status::Unhealthy);
    assert_eq!(status("circuit_breakers"), Status::Degraded);
    let open = report.checks["circuit_breakers"].error.clone().unwrap();
    assert_eq!(open, format!("open: {}", mock.urls()[1]));
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains(mock.token()), "{text}");

    mock.add_token(mock.token());
    mock.inject(Fault::status(429));
    let report = health.report().await;
    assert_eq!(report.checks["nudj_api"].status, Status::Degraded, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_probes_make_one_check() {
    let (check, runs) = counting(Duration::from_secs(1));
    let health = Health::builder().check("slow", CheckConfig::default(), check).build().unwrap();
    let reports = join_all((0..1000).map(|_| health.report())).await;
    assert!(reports.iter().all(|report| report.status == Status::Healthy));
    assert_eq!(runs.load(Relaxed), 1);
    tokio::time::advance(Duration::from_millis(4999)).await;
    health.report().await;
    assert_eq!(runs.load(Relaxed), 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    health.report().await;
    assert_eq!(runs.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_callers_of_the_same_moment_still_share() {
    let (check, runs) = counting(Duration::from_secs(1));
    let health = Health::builder().check("slow", uncached(), check).build().unwrap();
    join_all((0..100).map(|_| health.report())).await;
    assert_eq!(runs.load(Relaxed), 1);
    health.report().await;
    assert_eq!(runs.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_gives_up_leaves_the_check_to_the_next() {
    let (check, runs) = counting(Duration::from_secs(1));
    let health = Health::builder().check("slow", CheckConfig::default(), check).build().unwrap();
    let first = tokio::spawn(health.report());
    tokio::task::yield_now().await;
    let second = tokio::spawn(health.report());
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(second.await.unwrap().status, Status::Healthy);
    assert_eq!(runs.load(Relaxed), 1);
}

/// What a prober like kubelet with its defaults gets to see: every 10 s, and for 1 s.
async fn probed(health: &Health) -> Option<Status> {
    let report = tokio::time::timeout(Duration::from_secs(1), health.report()).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    report.ok().map(|report| report.status)
}

#[tokio::test(start_paused = true)]
async fn a_hung_dependency_that_is_optional_makes_nobody_unready() {
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    let hangs = move || {
        count.fetch_add(1, Relaxed);
        pending()
    };
    let (slow, _) = counting(Duration::from_millis(1500));
    let health = Health::builder()
        .check("hangs", CheckConfig::optional(), hangs)
        .check("slow", CheckConfig::default(), slow)
        .build()
        .unwrap();
    assert_eq!(probed(&health).await, None, "nothing has been found yet");
    for probes in 2..=20 {
        assert_eq!(probed(&health).await, Some(Status::Degraded));
        assert_eq!(runs.load(Relaxed), probes, "each looks anew, for the next");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_long_ago_does_not_stand_in() {
    let (check, _) = counting(Duration::ZERO);
    let turns = Arc::new(AtomicU32::new(0));
    let then_hangs = move || {
        let first = turns.fetch_add(1, Relaxed) == 0;
        async move { if first { Ok(Finding::Healthy) } else { pending().await } }
    };
    let health = Health::builder()
        .check("fine", CheckConfig::default(), check)
        .check("then hangs", CheckConfig::default(), then_hangs)
        .build()
        .unwrap();
    assert_eq!(health.report().await.status, Status::Healthy);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(health.report().await.status, Status::Healthy, "29 s are not yet six times 5 s");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let start = tokio::time::Instant::now();
    assert_eq!((health.report().await.status, start.elapsed()), (Status::Unhealthy, Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_is_unhealthy_and_holds_nobody_up() {
    let health = Health::builder()
        .check("hangs", CheckConfig { timeout: Duration::from_millis(300), ..CheckConfig::optional() }, pending)
        .check("panics", CheckConfig::optional(), || async {
            assert!(std::hint::black_box(false), "as a test");
            Ok(Finding::Healthy)
        })
        .check("talks", CheckConfig::optional(), || async { Err(format!("a\nb{}", "x".repeat(10_000)).into()) })
        .build()
        .unwrap();
    let start = tokio::time::Instant::now();
    let report = health.report().await;
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    let error = |name: &str| report.checks[name].error.clone().unwrap();
    assert_eq!(error("hangs"), "no answer within 300ms");
    assert_eq!(error("panics"), "the check itself panicked");
    assert!(error("talks").starts_with("a bxx") && error("talks").len() == 300);
    assert_eq!(report.status, Status::Degraded, "none of them is critical");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let fine = || std::future::ready(Ok(Finding::Healthy));
    let zero = CheckConfig { timeout: Duration::ZERO, ..CheckConfig::default() };
    assert_eq!(Health::builder().check("redis", zero, fine).build().unwrap_err().field(), "redis.timeout");
    let twice =
        Health::builder().check("redis", CheckConfig::default(), fine).check("redis", CheckConfig::default(), fine);
    assert_eq!(twice.build().unwrap_err().field(), "redis");
    let many = (0..65).fold(Health::builder(), |health, n| health.check(n.to_string(), CheckConfig::default(), fine));
    assert_eq!(many.build().unwrap_err().field(), "checks");
    let config: CheckConfig = serde_json::from_str(r#"{"timeout": "250ms"}"#).unwrap();
    assert_eq!(config, CheckConfig { timeout: Duration::from_millis(250), ..CheckConfig::default() });
    serde_json::from_str::<CheckConfig>(r#"{"tiemout": "250ms"}"#).unwrap_err();
}

/// What a server says to `question`, as any client library would ask it.
async fn says(
    address: String,
    question: &'static [u8],
    answer: &'static [u8],
) -> Result<Finding, nudj_tower::BoxError> {
    let mut stream = TcpStream::connect(&*address).await?;
    stream.write_all(question).await?;
    let mut found = vec![0; answer.len()];
    stream.read_exact(&mut found).await?;
    if found == answer { Ok(Finding::Healthy) } else { Err("says something else".into()) }
}

#[tokio::test]
async fn redis_sql_and_a_bus_are_checks_by_a_closure() {
    const TEST: &str = "redis_sql_and_a_bus_are_checks_by_a_closure";
    let Some(redis) = needs(TEST, "NUDJ_TEST_REDIS_URL") else { return };
    let Some(sql) = needs(TEST, "NUDJ_TEST_POSTGRES_URL") else { return };
    let Some(bus) = needs(TEST, "NUDJ_TEST_NATS_URL") else { return };
    let address = |url: &str| {
        let rest = url.split_once("://").unwrap().1;
        rest.rsplit_once('@').map_or(rest, |(_, address)| address).split('/').next().unwrap().to_owned()
    };
    // Whether it speaks TLS; the first packet of PostgreSQL's protocol.
    const SSL: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
    let check = |url: &str, question: &'static [u8], answer: &'static [u8]| {
        let address = address(url);
        move || says(address.clone(), question, answer)
    };
    // A server that accepts and never answers.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frozen_url = format!("redis://{}", frozen.local_addr().unwrap());
    let short = CheckConfig { timeout: Duration::from_millis(50), ..CheckConfig::optional() };
    let health = Health::builder()
        .check("redis", CheckConfig::default(), check(&redis, b"PING\r\n", b"+PONG"))
        .check("sql", CheckConfig::default(), check(&sql, SSL, b"N"))
        .check("bus", CheckConfig::default(), check(&bus, b"PING\r\n", b"INFO {"))
        .check("frozen", short, check(&frozen_url, b"PING\r\n", b"+PONG"))
        .build()
        .unwrap();
    let report = health.report().await;
    for name in ["redis", "sql", "bus"] {
        assert_eq!(report.checks[name].status, Status::Healthy, "{report:?}");
    }
    assert_eq!(report.checks["frozen"].error.as_deref(), Some("no answer within 50ms"));
    assert_eq!(report.status, Status::Degraded);
}
