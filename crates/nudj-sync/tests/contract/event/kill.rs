//! kill -9 after a random number of effects over the durable buses, with a Nudj that fails one call in ten and loses one answer in twenty: then every
//! user is there exactly once, and none is missing.
//!
//! Ten kills for each bus, or as many as `NUDJ_TEST_KILLS` says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nudj_client::{Client, Config};
use nudj_mock::{Fault, MockNudj};
use nudj_sync::event::{Consumer, ConsumerConfig, Delivery, EventBus, USER_SYNCED, UserFlow, UserSynced};
use serde::{Deserialize, Serialize};

use super::flow::{Directory, at_nudj, once_each, registered};
use super::harness::{eventually_within, quick};

const SETTINGS: &str = "NUDJ_SYNC_EVENT_CHILD";

/// New users between two kills.
const EACH: usize = 12;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Engine {
    #[cfg(feature = "outbox-sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "outbox-postgres")]
    Postgres { url: String, schema: String },
    #[cfg(feature = "nats")]
    Nats { url: String, name: String },
}

impl Engine {
    async fn open(&self) -> Arc<dyn EventBus> {
        self.open_for(Duration::from_millis(1500)).await
    }

    /// With this `ack_wait`, where the bus has one.
    pub(crate) async fn open_for(&self, ack_wait: Duration) -> Arc<dyn EventBus> {
        let _ = ack_wait;
        match self {
            #[cfg(feature = "outbox-sqlite")]
            Self::Sqlite(path) => {
                Arc::new(nudj_sync::event::SqliteOutbox::open(path, Default::default()).await.unwrap())
            }
            #[cfg(feature = "outbox-postgres")]
            Self::Postgres { url, schema } => {
                let pool = super::postgres::pool(url, schema).await;
                Arc::new(nudj_sync::event::PostgresOutbox::with_pool(pool, Default::default()).await.unwrap())
            }
            #[cfg(feature = "nats")]
            Self::Nats { url, name } => {
                let config = super::nats::Nats { url: url.clone(), name: name.clone() };
                let bus = nudj_sync::event::NatsBus::connect(
                    url,
                    nudj_sync::event::NatsConfig { ack_wait, ..config.config() },
                )
                .await;
                // Its streams are the parent's to remove.
                std::mem::forget(config);
                Arc::new(bus.unwrap())
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Settings {
    engine: Engine,
    nudj: String,
    token: String,
    /// Each synced user appends a line here.
    synced: PathBuf,
}

/// The running child; killed when dropped.
struct Process(Child);

impl Process {
    fn start(settings: &Settings) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "event::kill::consumer_in_a_process_of_its_own", "--nocapture"])
            .env(SETTINGS, serde_json::to_string(settings).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line == "consuming");
        assert!(ready, "the child says that it consumes");
        // Goes on reading, so that the child never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Process {
    /// kill -9.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the body of the child.
#[test]
fn consumer_in_a_process_of_its_own() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut config = Config { endpoints: vec![settings.nudj.clone()], ..Config::default() };
        config.rate_limit.max_requests = 1_000_000;
        config.retry.base_delay = Duration::from_millis(1);
        config.circuit_breaker.failure_threshold = 0;
        let client = Client::builder().config(config).token(settings.token.clone()).build().unwrap();
        let consumer = Consumer::of(settings.engine.open().await).config(ConsumerConfig {
            handler_timeout: Duration::from_millis(900),
            lease: Duration::from_millis(1400),
            max_delay: Duration::from_millis(50),
            ..quick()
        });
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&settings.synced).unwrap();
        let file = Arc::new(file);
        let consumer = UserFlow::new(client, Directory).on(consumer).on(USER_SYNCED, move |delivery: Delivery| {
            let file = Arc::clone(&file);
            async move {
                let UserSynced { user_id, nudj_user_id } = delivery.event.parse().map_err(std::io::Error::other)?;
                (&*file).write_all(format!("{user_id} {nudj_user_id}\n").as_bytes())
            }
        });
        let _consumer = consumer.start().unwrap();
        eprintln!("consuming");
        std::future::pending::<()>().await;
    });
}

fn synced(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(user, id)| (user.to_owned(), id.to_owned())).collect()
}

async fn survives(engine: Engine, seed: u64) {
    let kills: usize = std::env::var("NUDJ_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10);
    let folder = tempfile::tempdir().unwrap();
    // It would take a user twice; whoever creates twice is seen.
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    mock.inject(Fault::status(503).probability(0.1, seed));
    mock.inject(Fault::lost_answer().probability(0.05, seed + 1));
    let settings =
        Settings { engine, nudj: mock.url(), token: mock.token().to_owned(), synced: folder.path().join("synced") };
    let bus = settings.engine.open().await;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut users = Vec::new();
    let mut left = 0;
    for round in 0..=kills {
        let before = mock.users_count();
        for number in 0..EACH {
            let user = format!("user-{round}-{number}");
            bus.publish(&registered(&user)).await.unwrap();
            users.push(user);
        }
        let process = Process::start(&settings);
        if round == kills {
            // Each kill of many leaves some work to this last process.
            let most = Duration::from_secs(60 + 3 * kills as u64);
            eventually_within(most, "nothing waits", async || bus.lag().await.unwrap().waiting == 0).await;
        } else {
            // In the midst of the work, however fast it goes.
            let begun = before + rng.usize(0..EACH);
            let most = Duration::from_secs(60);
            eventually_within(most, "so many are there", async || mock.users_count() >= begun).await;
            left += usize::from(bus.lag().await.unwrap().waiting > 0);
        }
        drop(process);
    }
    assert_eq!(bus.lag().await.unwrap().dead_letters, 0);
    assert_eq!(at_nudj(&mock), once_each(users));
    let synced = synced(&settings.synced);
    for user in mock.users() {
        let external = user["externalUserId"].as_str().unwrap();
        assert_eq!(synced.get(external).map(String::as_str), user["id"].as_str(), "{external}");
    }
    if kills != 10 {
        let line = format!("{kills} kills, {left} with work left, {} users, each once\n", mock.users_count());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(feature = "outbox-sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_over_the_sqlite_outbox_leave_each_user_once() {
    let folder = tempfile::tempdir().unwrap();
    survives(Engine::Sqlite(folder.path().join("outbox.db")), 11).await;
}

#[cfg(feature = "outbox-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_over_the_postgres_outbox_leave_each_user_once() {
    let Some(place) = super::postgres::Postgres::new("kills over the outbox in PostgreSQL").await else { return };
    survives(Engine::Postgres { url: place.url.clone(), schema: place.schema.clone() }, 22).await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_over_jetstream_leave_each_user_once() {
    let Some(place) = super::nats::Nats::new("kills over JetStream") else { return };
    survives(Engine::Nats { url: place.url.clone(), name: place.name.clone() }, 33).await;
}
