//! A pipeline in a process of its own, to be killed: this test binary, started with one test and [`SETTINGS`] in its environment.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nudj_client::{Client, Config};
use nudj_mock::MockNudj;
use nudj_sync::cdc::Pipeline;
use serde::{Deserialize, Serialize};

use super::fixture;

const SETTINGS: &str = "NUDJ_SYNC_CDC_CHILD";

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Engine {
    #[cfg(feature = "cdc-sqlite")]
    Sqlite { file: PathBuf, state: PathBuf },
    #[cfg(feature = "cdc-postgres")]
    Cursor { url: String },
    #[cfg(feature = "cdc-logical")]
    Logical { url: String, slot: String },
}

#[derive(Serialize, Deserialize)]
struct Settings {
    engine: Engine,
    nudj: String,
    token: String,
    /// Written when all is done; then the child ends by itself.
    done: Option<PathBuf>,
}

pub(crate) struct Process(Child);

impl Process {
    /// With `done`, it ends when it has caught up.
    pub(crate) fn start(engine: &Engine, mock: &MockNudj, done: Option<PathBuf>) -> Self {
        let settings = Settings { engine: engine.clone(), nudj: mock.url(), token: mock.token().to_owned(), done };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cdc::child::pipeline_in_a_process_of_its_own", "--nocapture"])
            .env(SETTINGS, serde_json::to_string(&settings).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// kill -9; false when it had ended by itself.
    pub(crate) fn kill(mut self) -> bool {
        let was_alive = self.0.try_wait().unwrap().is_none();
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        was_alive
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many kills a test does: ten unless the environment says otherwise.
pub(crate) fn kills() -> u64 {
    std::env::var("NUDJ_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

/// So many rows that a killed process leaves some behind, and that the last one need not work for minutes.
pub(crate) fn rows_a_round() -> u64 {
    (200 / kills().max(1)).max(4)
}

/// Starts the pipeline and kills it, over and over while `write` makes changes; then lets one end by itself.
pub(crate) async fn killed_over_and_over(engine: &Engine, mock: &MockNudj, mut write: impl AsyncFnMut(u64)) -> u64 {
    let mut rng = fastrand::Rng::with_seed(42);
    let mut killed = 0;
    for round in 0..kills() {
        let process = Process::start(engine, mock, None);
        write(round).await;
        // Somewhere between its first breath and the end of its work.
        tokio::time::sleep(Duration::from_millis(rng.u64(20..400))).await;
        killed += u64::from(process.kill());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = Process::start(engine, mock, Some(folder.path().join("done")));
    tokio::time::timeout(Duration::from_secs(400), async {
        while !last.ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the last one catches up");
    assert!(folder.path().join("done").exists(), "the last one ended well");
    killed
}

/// Not a test of its own: the body of the child.
#[test]
fn pipeline_in_a_process_of_its_own() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(settings));
}

async fn run(settings: Settings) {
    let mut config = Config::with_endpoints([settings.nudj]);
    config.rate_limit.max_requests = 1_000_000;
    config.retry.base_delay = Duration::from_millis(1);
    config.circuit_breaker.failure_threshold = 0;
    let client = Client::builder().config(config).token(settings.token).build().unwrap();
    let pipeline = match settings.engine {
        #[cfg(feature = "cdc-sqlite")]
        Engine::Sqlite { file, state } => {
            let source = nudj_sync::cdc::SqliteSource::open(file, ["users", "challenges"]).await.unwrap();
            let state = nudj_sync::cdc::SqliteState::open(state, "test").await.unwrap();
            let source = source.poll_interval(Duration::from_millis(10));
            fixture::mapped(Pipeline::builder(source, state, client)).start().unwrap()
        }
        #[cfg(feature = "cdc-postgres")]
        Engine::Cursor { url } => {
            let (source, state) = super::postgres::cursor(&url).await;
            fixture::mapped(Pipeline::builder(source, state, client)).start().unwrap()
        }
        #[cfg(feature = "cdc-logical")]
        Engine::Logical { url, slot } => {
            let (_, state) = super::postgres::cursor(&url).await;
            let source = super::logical::source(&url, &slot).await;
            fixture::mapped(Pipeline::builder(source, state, client)).start().unwrap()
        }
    };
    match settings.done {
        None => std::future::pending().await,
        Some(done) => {
            fixture::caught_up(&pipeline).await;
            assert!(pipeline.stop(Duration::from_secs(10)).await);
            std::fs::write(done, "done").unwrap();
        }
    }
}
