//! The bus's server goes away for a while: nothing is lost, and nothing reordered within a key.
//!
//! One second, or as many as `NUDJ_TEST_OUTAGE_SECONDS` says.

#[cfg(feature = "nats")]
use std::net::TcpListener;
#[cfg(feature = "nats")]
use std::process::Child;
#[cfg(feature = "nats")]
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nudj_sync::Error;
use nudj_sync::event::{Consumer, Delivery, EventBus};
#[cfg(feature = "nats")]
use tempfile::TempDir;

use super::harness::{Journal, event, eventually, quick};

const KEYS: usize = 5;

fn away() -> Duration {
    let seconds = std::env::var("NUDJ_TEST_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

#[cfg(feature = "nats")]
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

#[cfg(feature = "nats")]
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

#[cfg(feature = "outbox-postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_server_that_crashes_loses_and_reorders_nothing() {
    use nudj_sync::event::{OutboxConfig, PostgresOutbox};

    let Some(server) = crate::postgres_server::PostgresServer::new() else {
        return crate::left_out("the outage of a PostgreSQL server", "up PostgreSQL's programs, /usr/lib/postgresql");
    };
    let pool = super::postgres::pool(&server.url(), "public").await;
    let bus = PostgresOutbox::with_pool(pool, OutboxConfig::default()).await.unwrap();
    survives(Arc::new(bus), || server.pg_ctl("stop"), async || server.pg_ctl("start")).await;
}
