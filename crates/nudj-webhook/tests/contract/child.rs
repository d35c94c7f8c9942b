//! A receiver in a process of its own, to be killed or weighed: this test binary, started with one test and
//! [`SETTINGS`] in its environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nudj_webhook::{Delivery, Receiver, WebhookConfig};
use serde::{Deserialize, Serialize};

use crate::harness::NUDJ_SECRET;

const SETTINGS: &str = "NUDJ_WEBHOOK_CHILD";

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) config: WebhookConfig,
    /// An SQLite file; memory without.
    pub(crate) inbox: Option<PathBuf>,
    /// Each handled delivery appends its id and a new line here.
    pub(crate) effects: PathBuf,
    /// How long a handler takes.
    pub(crate) handler_ms: u64,
}

/// The running child; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(settings: &Settings) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::receiver_in_a_process_of_its_own", "--nocapture"])
            .env(SETTINGS, serde_json::to_string(settings).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening ").and_then(|address| address.parse().ok()))
            .expect("the child says where it listens");
        // Goes on reading, so that the child never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// kill -9.
    #[cfg(feature = "sqlite")]
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(feature = "sqlite")]
pub(crate) fn effects(path: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Not a test of its own: the body of the child.
#[test]
fn receiver_in_a_process_of_its_own() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(settings));
}

async fn serve(settings: Settings) {
    let Settings { config, inbox, effects, handler_ms } = settings;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(effects).unwrap();
    let file = std::sync::Arc::new(file);
    let mut builder = Receiver::builder().secret(NUDJ_SECRET).on_any(move |delivery: Delivery| {
        let file = std::sync::Arc::clone(&file);
        async move {
            tokio::time::sleep(Duration::from_millis(handler_ms)).await;
            (&*file).write_all(format!("{}\n", delivery.id).as_bytes())
        }
    });
    #[cfg(feature = "sqlite")]
    if let Some(path) = inbox {
        builder = builder.inbox(nudj_webhook::inbox::SqliteInbox::open(path, &config).await.unwrap());
    }
    #[cfg(not(feature = "sqlite"))]
    assert!(inbox.is_none());
    builder = builder.config(config);
    let receiver = builder.build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    eprintln!("listening {}", listener.local_addr().unwrap());
    axum::serve(listener, receiver.router()).await.unwrap();
}
