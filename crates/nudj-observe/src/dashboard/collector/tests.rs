use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use nudj_tower::{CallContext, Route, TraceContext};
use tokio::time::advance;

use super::*;

fn collector() -> Collector {
    Collector::new(&DashboardConfig::default())
}

fn ended(
    collector: &Collector,
    outcome: Option<Outcome>,
    status: Option<u16>,
    error: Option<&str>,
    tries: u32,
    duration: Duration,
) {
    let context = CallContext::new();
    (0..tries).for_each(|_| context.record_try(1, &Arc::from("a"), 0));
    let mut rng = fastrand::Rng::with_seed(1);
    context.set_ids(HeaderValue::from_static("id-1"), TraceContext::start(&mut rng));
    context.set_route(Route { operation: "getUser", template: "/users/{id}" });
    let (context, method, at, attempts) = (&context, Some("GET"), Instant::now(), None);
    collector.observe(&Event::CallEnded { context, method, outcome, status, error, duration, at, attempts });
}

fn succeeded(collector: &Collector, duration: Duration) {
    ended(collector, Some(Outcome::Success), Some(StatusCode::OK.as_u16()), None, 1, duration);
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn each_end_is_counted_as_what_it_was() {
    let collector = collector();
    type Row<'a> = (Option<Outcome>, Option<u16>, Option<&'a str>, u32);
    let rows: [Row<'_>; 12] = [
        (Some(Outcome::Success), Some(200), None, 1),
        (Some(Outcome::Success), Some(200), None, 0),
        (Some(Outcome::Success), Some(200), None, 2),
        (Some(Outcome::Success), Some(404), Some("404"), 1),
        (Some(Outcome::Success), Some(401), Some("401"), 1),
        (Some(Outcome::Failure), Some(503), Some("503"), 4),
        (Some(Outcome::Throttled), Some(429), Some("429"), 4),
        (Some(Outcome::Failure), None, Some("timeout"), 1),
        (Some(Outcome::Failure), None, Some("connect"), 1),
        (Some(Outcome::Ignored), None, Some("circuit_open"), 1),
        (Some(Outcome::Ignored), None, Some("rate_limited"), 1),
        (None, None, None, 1),
    ];
    for (outcome, status, error, tries) in rows {
        ended(&collector, outcome, status, error, tries, MS);
    }
    advance(SECOND).await;
    let minute = collector.minute(Instant::now());
    let Counts { ok, ok_retried, client_error, failed, refused, dropped, .. } = minute.counts;
    assert_eq!((ok, ok_retried, client_error, failed, refused, dropped), (2, 1, 1, 5, 2, 1));
    assert_eq!((minute.calls, minute.success), (12, Some(4.0 / 11.0)));
    let rows = collector.failures.lock().rows(Instant::now());
    assert_eq!(rows.len(), 8);
    let newest = &rows[0].what;
    assert_eq!(newest.kind, Kind::Refused);
    assert_eq!((newest.error.as_str(), newest.correlation_id.as_str()), ("rate_limited", "id-1"));
    assert_eq!((newest.operation.as_str(), newest.endpoint.as_str(), rows[0].age_ms), ("getUser", "a", 1000));
}

#[tokio::test(start_paused = true)]
async fn points_are_of_complete_seconds_and_percentiles_of_five() {
    let collector = collector();
    for second in 1..=10_u32 {
        (0..second).for_each(|_| succeeded(&collector, MS * second));
        advance(SECOND).await;
    }
    succeeded(&collector, MS); // In the second under way.
    let points = collector.points(0, Instant::now());
    let ok: Vec<_> = points.iter().map(|point| (point.second, point.ok)).collect();
    assert_eq!(ok, (0..10).map(|number| (u64::from(number), number + 1)).collect::<Vec<_>>());
    let p50 = points[9].p50.unwrap();
    assert!((6.0..=10.0).contains(&p50), "of the calls of 6 to 10 ms, not of all: {p50}");
    assert_eq!(collector.points(8, Instant::now()).len(), 2);
    let minute = collector.minute(Instant::now());
    assert_eq!((minute.calls, minute.rate), (55, 8.0));
}

#[tokio::test(start_paused = true)]
async fn who_looks_users_up_before_creating_them_is_not_down() {
    let collector = collector();
    for call in 0..100 {
        match call % 5 {
            0..3 => ended(&collector, Some(Outcome::Success), Some(404), Some("404"), 1, MS),
            _ => succeeded(&collector, MS),
        }
    }
    advance(SECOND).await;
    let minute = collector.minute(Instant::now());
    assert_eq!((minute.success, minute.counts.client_error), (Some(1.0), 60));
    let point = collector.points(0, Instant::now()).remove(0);
    assert_eq!((point.ok, point.failed), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_chart_is_gone() {
    let collector = collector();
    succeeded(&collector, MS);
    advance(SECOND * 1000).await;
    let points = collector.points(0, Instant::now());
    assert!(points.len() < 300 && points.iter().all(|point| point.ok == 0 && point.p50.is_none()));
    assert_eq!(collector.minute(Instant::now()).success, None);
}

#[tokio::test(start_paused = true)]
async fn repeats_are_a_share_of_calls() {
    let collector = collector();
    (0..4).for_each(|_| succeeded(&collector, MS));
    collector.observe(&Event::Retried { number: 1, delay: MS, failover: false });
    collector.observe(&Event::Retried { number: 1, delay: Duration::ZERO, failover: true });
    advance(SECOND).await;
    assert_eq!(collector.minute(Instant::now()).retries, Some(0.5));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_kept_by_endpoint() {
    let collector = collector();
    collector.observe(&Event::AttemptEnded { endpoint: "a", outcome: Some(Outcome::Failure) });
    collector.observe(&Event::AttemptEnded { endpoint: "a", outcome: Some(Outcome::Success) });
    collector.observe(&Event::AttemptEnded { endpoint: "b", outcome: None });
    advance(SECOND).await;
    assert_eq!(collector.attempts("a", Instant::now()), (vec![2], vec![1]));
    assert_eq!(collector.attempts("b", Instant::now()), (vec![1], vec![0]));
    advance(SECOND * 70).await;
    let (all, _) = collector.attempts("a", Instant::now());
    assert_eq!((all.len(), all.iter().sum::<u32>()), (59, 0));
}

#[tokio::test(start_paused = true)]
async fn a_breakers_change_is_told_and_kept() {
    let collector = collector();
    let change = Event::BreakerChanged { name: "a", from: "closed", to: "open", retry_after: Some(SECOND * 60) };
    collector.observe(&change);
    collector.changed.notified().await;
    let rows = collector.happenings.lock().rows(Instant::now());
    assert_eq!((rows[0].what.tone, rows[0].what.text.as_str()), (Tone::Bad, "closed → open, for 60 s"));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_hides_no_change_of_state() {
    let collector = collector();
    for _ in 0..1000 {
        collector.observe(&Event::RetryBudgetExhausted);
        collector.observe(&Event::LimiterPaused { pause: SECOND });
    }
    collector.observe(&Event::BreakerChanged { name: "a", from: "closed", to: "open", retry_after: None });
    collector.observe(&Event::EndpointEjected { endpoint: "a", until: Some(SECOND) });
    collector.observe(&Event::CredentialRefreshed { provider: "p", renewed: false, valid_for: None });
    let happenings = collector.happenings.lock();
    let rows: Vec<_> =
        happenings.rows(Instant::now()).into_iter().map(|row| (row.what.subject, row.what.times)).collect();
    let expected = [("p", 1), ("a", 1), ("a", 1), ("rate limit", 1000), ("retry", 1000)];
    assert_eq!(rows, expected.map(|(subject, times)| (subject.to_owned(), times)));
    assert_eq!(happenings.left_out(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_gives_the_credential_its_age() {
    let collector = collector();
    assert_eq!(collector.renewed_ago(Instant::now()), None);
    collector.observe(&Event::CredentialRefreshed { provider: "p", renewed: true, valid_for: None });
    advance(SECOND * 9).await;
    collector.observe(&Event::CredentialRefreshed { provider: "p", renewed: false, valid_for: None });
    assert_eq!(collector.renewed_ago(Instant::now()).map(|age| age.as_secs()), Some(8));
}
