//! The process ends before and after each step, in this process and by kill -9 in one of its own.

use std::{
    future::pending,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nudj_client::{Client, Config};
use nudj_mock::MockNudj;
use nudj_sync::{
    Error,
    request_response::{Entry, Journal, Local, SqliteJournal, Step, UserSync},
};
use serde::{Deserialize, Serialize};

use super::*;
use crate::nudj::client;

/// Ends at the `at`th of all points before and after the effect of each step.
#[derive(Clone)]
struct Crash {
    at: usize,
    passed: Arc<AtomicUsize>,
}

impl Crash {
    fn new(at: usize) -> Self {
        Self { at, passed: Arc::default() }
    }

    async fn point(&self) {
        if self.passed.fetch_add(1, Ordering::Relaxed) == self.at {
            eprintln!("at the point");
            pending::<()>().await;
        }
    }

    async fn around<T>(&self, effect: impl Future<Output = T>) -> T {
        self.point().await;
        let done = effect.await;
        self.point().await;
        done
    }
}

struct Crashing<I> {
    inner: I,
    crash: Crash,
}

#[async_trait]
impl<J: Journal> Journal for Crashing<J> {
    async fn begin(&self, id: &str, user: &NewUser) -> Result<Option<Entry>, Error> {
        self.crash.around(self.inner.begin(id, user)).await
    }
    async fn get(&self, id: &str) -> Result<Option<Entry>, Error> {
        self.inner.get(id).await
    }
    async fn reached(&self, id: &str, step: &Step) -> Result<(), Error> {
        self.crash.around(self.inner.reached(id, step)).await
    }
    async fn finished(&self, id: &str) -> Result<(), Error> {
        self.crash.around(self.inner.finished(id)).await
    }
    async fn unfinished(&self, after: &str, limit: u32) -> Result<Vec<Entry>, Error> {
        self.inner.unfinished(after, limit).await
    }
}

#[async_trait]
impl Local for Crashing<Files> {
    async fn create(&self, id: &str, user: &NewUser) -> Result<(), BoxError> {
        self.crash.around(self.inner.create(id, user)).await
    }
    async fn store_nudj_id(&self, id: &str, nudj_id: &str) -> Result<(), BoxError> {
        self.crash.around(self.inner.store_nudj_id(id, nudj_id)).await
    }
    async fn compensate(&self, id: &str, why: &str) -> Result<(), BoxError> {
        self.crash.around(self.inner.compensate(id, why)).await
    }
}

/// Creates a user that Nudj takes and one that it refuses.
async fn work(client: Client, folder: &Path, crash: Crash) {
    let journal = SqliteJournal::open(folder.join("journal.db")).await.unwrap();
    let local = Crashing { inner: Files(folder.to_owned()), crash: crash.clone() };
    let sync = UserSync::new(client, local, Crashing { inner: journal, crash });
    sync.resume().await.unwrap();
    let _ = sync.create("taken", &user("taken")).await;
    let refused = NewUser { email: Some("nonsense".to_owned()), ..NewUser::default() };
    let _ = sync.create("refused", &refused).await;
}

/// What any crash and a start after it must lead to.
async fn assert_whole(mock: &MockNudj, folder: &Path, at: usize) {
    let local = Files(folder.to_owned());
    let journal = SqliteJournal::open(folder.join("journal.db")).await.unwrap();
    let sync = UserSync::new(client(mock), local.clone(), journal.clone());
    sync.resume().await.unwrap();
    assert!(journal.unfinished("", 10).await.unwrap().is_empty(), "point {at}: a record is left");
    assert!(!local.has("refused"), "point {at}: not rolled back");
    let users = mock.users();
    assert!(users.len() <= 1, "point {at}: created twice");
    assert_eq!(local.has("taken"), users.len() == 1, "point {at}: in one system and not in the other");
    let stored = users.first().map(|user| user["id"].as_str().unwrap().to_owned());
    assert_eq!(local.nudj_id("taken"), stored, "point {at}");
}

#[tokio::test]
async fn ended_between_any_two_steps_the_next_start_finishes() {
    let mut points = 0;
    loop {
        let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let crash = Crash::new(points);
        let passed = Arc::clone(&crash.passed);
        let ended = {
            let mut work = std::pin::pin!(work(client(&mock), folder.path(), crash));
            std::future::poll_fn(|cx| {
                let ended = work.as_mut().poll(cx).is_ready();
                let stuck = passed.load(Ordering::Relaxed) > points;
                if ended || stuck { std::task::Poll::Ready(ended) } else { std::task::Poll::Pending }
            })
            .await
        };
        assert_whole(&mock, folder.path(), points).await;
        if ended {
            break;
        }
        points += 1;
    }
    // Six steps of the one and seven of the other, a point before and after each.
    assert!(points >= 24, "{points}");
}

/// A POST that arrives, and whose answer a dead process cannot read: the call to Nudj itself is cut.
#[tokio::test]
async fn ended_during_the_post_the_next_start_finds_the_user() {
    let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
    mock.inject(nudj_mock::Fault::lost_answer().times(1));
    let folder = tempfile::tempdir().unwrap();
    {
        let mut work = std::pin::pin!(work(client(&mock), folder.path(), Crash::new(usize::MAX)));
        std::future::poll_fn(|cx| {
            let _ = work.as_mut().poll(cx);
            if mock.users_count() > 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    assert_whole(&mock, folder.path(), usize::MAX).await;
    assert_eq!(mock.users_count(), 1);
}

const SETTINGS: &str = "NUDJ_SYNC_TEST_CHILD";

#[derive(Serialize, Deserialize)]
struct Settings {
    endpoint: String,
    token: String,
    folder: PathBuf,
    at: usize,
}

/// Not a test of its own: the body of the child.
#[test]
fn in_a_process_of_its_own() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let Settings { endpoint, token, folder, at } = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { endpoints: vec![endpoint], ..Config::default() };
    let client = Client::builder().config(config).token(token).build().unwrap();
    runtime.block_on(work(client, &folder, Crash::new(at)));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_by_9_between_any_two_steps_the_next_start_finishes() {
    for at in 0.. {
        let mock = MockNudj::builder().duplicate_users(true).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings =
            Settings { endpoint: mock.url(), token: mock.token().to_owned(), folder: folder.path().to_owned(), at };
        let settings = serde_json::to_string(&settings).unwrap();
        let killed = tokio::task::spawn_blocking(move || {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "request_response::crashes::in_a_process_of_its_own", "--nocapture"])
                .env(SETTINGS, settings)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
            let at_point = lines.into_iter().any(|line| line == "at the point");
            child.kill().unwrap();
            child.wait().unwrap();
            at_point
        });
        let killed = tokio::time::timeout(Duration::from_secs(60), killed).await.unwrap().unwrap();
        assert_whole(&mock, folder.path(), at).await;
        if !killed {
            assert!(at >= 24, "{at}");
            break;
        }
    }
}
