//! The bus's server goes away for a while: nothing is lost, and nothing reordered within a key.
//!
//! One second, or as many as `NUDJ_TEST_OUTAGE_SECONDS` says.

use std::net::TcpListener;
#[cfg(feature = "outbox-postgres")]
use std::path::PathBuf;
#[cfg(feature = "nats")]
use std::process::Child;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nudj_sync::Error;
use nudj_sync::event::{Consumer, Delivery, EventBus};
use tempfile::TempDir;

use super::harness::{Journal, event, eventually, quick};

const KEYS: usize = 5;

fn away() -> Duration {
    let seconds = std::env::var("NUDJ_TEST_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Publishes to each key in turn until told to end, each event until it is taken; how many to each key.
fn publisher(bus: Arc<dyn EventBus>, end: Arc<std::sync::atomic::AtomicBool>) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        for number in 0.. {
            if end.load(std::sync::atomic::Ordering::SeqCst) {
                return number;
            }
            for key in 0..KEYS {
                let event = event(&format!("key-{key}"), number);
                while bus.publish(&event).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        unreachable!()
    })
}

/// Work goes on, the server goes and comes back, work goes on.
async fn survives(bus: Arc<dyn EventBus>, stop: impl FnOnce(), start: impl AsyncFnOnce()) {
    let journal = Journal::default();
    let seen = journal.clone();
    let consumer = Consumer::of(Arc::clone(&bus)).config(quick()).on_any(move |delivery: Delivery| {
        seen.begin(&delivery.event);
        seen.done(&delivery.event);
        async { Ok::<_, Error>(()) }
    });
    let consumer = consumer.start().unwrap();
    let end = Arc::default();
    let publisher = publisher(Arc::clone(&bus), Arc::clone(&end));
    eventually("work before", async || journal.count() >= 10 * KEYS).await;
    stop();
    tokio::time::sleep(away()).await;
    let during = journal.count();
    start().await;
    eventually("work after", async || journal.count() >= during + 10 * KEYS).await;
    end.store(true, std::sync::atomic::Ordering::SeqCst);
    let each = publisher.await.unwrap();
    eventually("nothing waits", async || bus.lag().await.is_ok_and(|lag| lag.waiting == 0)).await;
    assert!(consumer.snapshot().store_errors > 0, "it was away");
    consumer.shutdown(Duration::from_secs(30)).await;
    assert_eq!(journal.count(), each * KEYS);
    journal.assert_in_order();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A NATS server of our own.
#[cfg(feature = "nats")]
struct NatsServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

#[cfg(feature = "nats")]
impl NatsServer {
    fn start(&mut self) {
        let program = std::env::var("NUDJ_TEST_NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned());
        let child = Command::new(program)
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = child.ok();
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            run(Command::new("kill").args(["-TERM", &child.id().to_string()]));
            child.wait().unwrap();
        }
    }
}

#[cfg(feature = "nats")]
impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_server_that_goes_away_loses_and_reorders_nothing() {
    use nudj_sync::event::{NatsBus, NatsConfig};

    let mut server = NatsServer { folder: tempfile::tempdir().unwrap(), port: free_port(), child: None };
    server.start();
    if server.child.is_none() {
        return crate::left_out("the outage of a NATS server", "NUDJ_TEST_NATS_SERVER");
    }
    let url = format!("nats://127.0.0.1:{}", server.port);
    eventually("the server listens", async || async_nats::connect(&url).await.is_ok()).await;
    let config = NatsConfig { ack_wait: Duration::from_millis(1500), ..NatsConfig::default() };
    let bus = NatsBus::connect(&url, config).await.unwrap();
    let server = parking_lot::Mutex::new(server);
    survives(Arc::new(bus), || server.lock().stop(), async || server.lock().start()).await;
}

/// A PostgreSQL server of our own; as root it runs as `nobody`, for it refuses root.
#[cfg(feature = "outbox-postgres")]
struct PostgresServer {
    folder: TempDir,
    port: u16,
    programs: PathBuf,
    as_root: bool,
}

#[cfg(feature = "outbox-postgres")]
impl PostgresServer {
    fn new() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let newest = versions.flatten().map(|version| version.path().join("bin")).max()?;
        let folder = tempfile::tempdir().unwrap();
        let as_root = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap()) == 0;
        let server = Self { folder, port: free_port(), programs: newest, as_root };
        if server.as_root {
            run(Command::new("chown").arg("nobody").arg(server.folder.path()));
        }
        run(server.command("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D", &server.data()]));
        server.pg_ctl("start");
        Some(server)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }

    fn pg_ctl(&self, what: &str) {
        let log = self.folder.path().join("log");
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.folder.path().display());
        let mut command = self.command("pg_ctl");
        command.args(["-w", "-D", &self.data(), "-l", log.to_str().unwrap(), "-o", &options, "-m", "immediate", what]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{what}");
    }
}

#[cfg(feature = "outbox-postgres")]
impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.pg_ctl("stop");
    }
}

#[cfg(feature = "outbox-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_server_that_crashes_loses_and_reorders_nothing() {
    use nudj_sync::event::{OutboxConfig, PostgresOutbox};

    let Some(server) = PostgresServer::new() else {
        return crate::left_out("the outage of a PostgreSQL server", "up PostgreSQL's programs, /usr/lib/postgresql");
    };
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let pool = super::postgres::pool(&url, "public").await;
    let bus = PostgresOutbox::with_pool(pool, OutboxConfig::default()).await.unwrap();
    survives(Arc::new(bus), || server.pg_ctl("stop"), async || server.pg_ctl("start")).await;
}
