//! SIGTERM while five hundred users a second register: the process ends in time, and of what it acknowledged nothing is lost.
//!
//! A hundred users, or as many as `NUDJ_TEST_DRAIN_EVENTS` says.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_sync::event::{Consumer, ConsumerConfig, Delivery, EventBus, USER_SYNCED, UserFlow};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::flow::{Directory, at_nudj, registered};
use super::harness::{eventually_within, quick};
use super::kill::Engine;

const SETTINGS: &str = "NUDJ_SYNC_DRAIN_CHILD";
const DEADLINE: Duration = Duration::from_millis(1500);
const LEASE: Duration = Duration::from_secs(8);
/// A machine that cannot keep up publishes more slowly: else those who publish would starve those who handle, and nothing would ever be done.
const MOST_PUBLISHING: usize = 64;
/// JetStream's own lease, which must outlast ours.
const ACK_WAIT: Duration = Duration::from_secs(9);

#[derive(Serialize, Deserialize)]
struct Settings {
    engine: Engine,
    nudj: String,
    token: String,
    /// Each user whose event was published appends a line here.
    acknowledged: PathBuf,
}

fn consumer(bus: Arc<dyn EventBus>, nudj: &str, token: &str) -> Consumer {
    let mut config = Config { endpoints: vec![nudj.to_owned()], ..Config::default() };
    config.rate_limit.max_requests = 1_000_000;
    config.retry.base_delay = Duration::from_millis(1);
    config.circuit_breaker.failure_threshold = 0;
    let client = Client::builder().config(config).token(token.to_owned()).build().unwrap();
    // No lease runs out while the handler that has it may still be at work.
    let config = ConsumerConfig { workers: 64, handler_timeout: Duration::from_secs(6), lease: LEASE, ..quick() };
    let consumer = Consumer::of(bus).config(config);
    let consumer = UserFlow::new(client, Directory).on(consumer);
    consumer.on(USER_SYNCED, |_: Delivery| async { Ok::<_, nudj_sync::BoxError>(()) }).start().unwrap()
}

/// Not a test of its own: the body of the child.
#[test]
fn service_in_a_process_of_its_own() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        let bus = settings.engine.open_for(ACK_WAIT).await;
        let consumer = consumer(Arc::clone(&bus), &settings.nudj, &settings.token);
        let file = Arc::new(OpenOptions::new().create(true).append(true).open(&settings.acknowledged).unwrap());
        let mut ticks = interval(Duration::from_millis(2));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut publishing = JoinSet::new();
        for number in 0_usize.. {
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = ticks.tick() => {}
            }
            while publishing.try_join_next().is_some() {}
            if publishing.len() >= MOST_PUBLISHING {
                publishing.join_next().await;
            }
            let (bus, file) = (Arc::clone(&bus), Arc::clone(&file));
            publishing.spawn(async move {
                let user = format!("user-{number}");
                bus.publish(&registered(&user)).await.unwrap();
                (&*file).write_all(format!("{user}\n").as_bytes()).unwrap();
            });
        }
        // What was not acknowledged yet is not waited for.
        publishing.shutdown().await;
        let report = consumer.shutdown(DEADLINE).await;
        eprintln!("cut off {}", report.cut_off);
    });
}

async fn drains(engine: Engine, name: &str) {
    let asked = std::env::var("NUDJ_TEST_DRAIN_EVENTS").ok().and_then(|events| events.parse().ok());
    let (events, full) = (asked.unwrap_or(100), asked.is_some());
    let folder = tempfile::tempdir().unwrap();
    let mock = MockNudj::builder().duplicate_users(true).most_users(usize::MAX).request_log(0).start().await.unwrap();
    mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").probability(0.05, 1));
    // These are what the deadline is for: some never reach the API, some do and are cut off before its answer.
    mock.inject(Fault::hang().on(Method::POST, "/api/v2/admin/users").probability(0.01, 2));
    let done = mock.inject(Fault::unanswered().on(Method::POST, "/api/v2/admin/users").probability(0.05, 3));
    let acknowledged = folder.path().join("acknowledged");
    let settings = Settings { engine, nudj: mock.url(), token: mock.token().to_owned(), acknowledged };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "event::drain::service_in_a_process_of_its_own", "--nocapture"])
        .env(SETTINGS, serde_json::to_string(&settings).unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let known = || std::fs::read_to_string(&settings.acknowledged).unwrap_or_default();
    let most = Duration::from_secs(60 + events as u64 / 10);
    let since = Instant::now();
    eventually_within(most, "so many are acknowledged", async || known().lines().count() >= events).await;
    let rate = events as f64 / since.elapsed().as_secs_f64();
    eventually_within(most, "one is done and not answered", async || mock.fired(done) > 0).await;
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let since = Instant::now();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let took = since.elapsed();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let cut_off = said.lines().find_map(|line| line.strip_prefix("cut off ")).expect("it says how it ended").to_owned();
    // A machine that is busy is no failure of the drain; only who asks for the figure is told.
    assert!(!full || took < DEADLINE + Duration::from_secs(1), "{took:?}");

    let known: BTreeMap<String, usize> = known().lines().map(|user| (user.to_owned(), 1)).collect();
    let before = mock.users_count();
    mock.clear_faults();
    let bus = settings.engine.open_for(ACK_WAIT).await;
    let consumer = consumer(Arc::clone(&bus), &settings.nudj, &settings.token);
    eventually_within(most, "nothing waits", async || bus.lag().await.unwrap().waiting == 0).await;
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(bus.lag().await.unwrap().dead_letters, 0);
    let there = at_nudj(&mock);
    assert!(there.values().all(|times| *times == 1), "none is there twice");
    let lost: Vec<_> = known.keys().filter(|user| !there.contains_key(*user)).collect();
    assert!(lost.is_empty(), "{} acknowledged users are lost, such as {}", lost.len(), lost[0]);
    if full {
        let line = format!(
            "SIGTERM over {name} at {rate:.0} a second: ended after {took:.2?} of {DEADLINE:?}, {cut_off} cut off; {} acknowledged, \
             {before} there by then, 0 lost and 0 twice in the end\n",
            known.len()
        );
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(feature = "outbox-sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_over_the_sqlite_outbox_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    drains(Engine::Sqlite(folder.path().join("outbox.db")), "SQLite").await;
}

#[cfg(feature = "outbox-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_over_the_postgres_outbox_loses_nothing_acknowledged() {
    let Some(place) = super::postgres::Postgres::new("SIGTERM over the outbox in PostgreSQL").await else { return };
    drains(Engine::Postgres { url: place.url.clone(), schema: place.schema.clone() }, "PostgreSQL").await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_over_jetstream_loses_nothing_acknowledged() {
    let Some(place) = super::nats::Nats::new("SIGTERM over JetStream") else { return };
    drains(Engine::Nats { url: place.url.clone(), name: place.name.clone() }, "JetStream").await;
}
