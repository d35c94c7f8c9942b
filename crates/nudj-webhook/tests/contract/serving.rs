//! The server of our own.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use nudj_webhook::{Delivery, Receiver, ShutdownReport, WebhookConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Clock, NUDJ_SECRET, START, USER_UPDATED, config, delivery, eventually, nudj, send, signed_head};
use crate::wire::post;

struct Server {
    address: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<ShutdownReport>,
    receiver: Receiver,
}

async fn start(config: WebhookConfig) -> Server {
    let receiver = Receiver::builder()
        .config(config)
        .secret(NUDJ_SECRET)
        .clock(Clock::start())
        .on_any(async |_: Delivery| Ok::<(), std::io::Error>(()))
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let task = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.serve(listener, async { drop(stopped.await) }, Duration::from_secs(30)).await }
    });
    Server { address, stop, task, receiver }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

#[tokio::test]
async fn path_is_served_and_request_under_way_is_answered_when_stopped() {
    let server = start(config()).await;
    let head = signed_head(&nudj(), "d1", START, USER_UPDATED);
    assert_eq!(post(server.address, &head, USER_UPDATED).await, Some(200));
    let mut other = TcpStream::connect(server.address).await.unwrap();
    other.write_all(b"POST /other HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(other).await.starts_with("HTTP/1.1 404"));

    // Half a request, then the stop, then the other half. An idle connection must not hold the stop up.
    let idle = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    let signature = nudj().sign("", 0, USER_UPDATED);
    let length = USER_UPDATED.len();
    let text = format!(
        "POST /webhooks HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nx-nudj-signature: {signature}\r\n\
         x-nudj-delivery-id: d2\r\ncontent-length: {length}\r\n\r\n"
    );
    half.write_all(text.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    half.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop.send(()).unwrap();
    assert_eq!(rest(idle).await, "");
    half.write_all(USER_UPDATED).await.unwrap();
    assert!(rest(half).await.starts_with("HTTP/1.1 200"));
    let report = server.task.await.unwrap();
    assert_eq!((report.left, server.receiver.snapshot().handled), (0, 2));
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn head_that_never_ends_is_given_up() {
    let mut config = config();
    config.read_timeout = Duration::from_millis(50);
    config.max_connections = 1;
    let server = start(config).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"POST /webhooks HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    // The only place is taken until then. (hyper's own limit would be 30 s.)
    let head = signed_head(&nudj(), "d1", START, USER_UPDATED);
    let served = tokio::time::timeout(Duration::from_secs(20), post(server.address, &head, USER_UPDATED)).await;
    assert_eq!(served.unwrap(), Some(200));
    let _ = rest(slow).await;
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn stranger_who_waits_for_a_go_ahead_gets_a_refusal_instead() {
    let server = start(config()).await;
    let mut stranger = TcpStream::connect(server.address).await.unwrap();
    let text = "POST /webhooks HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    stranger.write_all(text.as_bytes()).await.unwrap();
    assert!(rest(stranger).await.starts_with("HTTP/1.1 401"));
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn connection_ends_with_the_first_question_for_another_path() {
    // It stayed open: who went on asking and never read held its place for good.
    let server = start(config()).await;
    let mut stranger = TcpStream::connect(server.address).await.unwrap();
    stranger.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\nGET /x HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let text = rest(stranger).await.to_ascii_lowercase();
    assert_eq!(text.matches("http/1.1 404").count(), 1, "{text}");
    assert!(text.contains("connection: close"), "{text}");
    server.stop.send(()).unwrap();
    server.task.await.unwrap();
}

#[tokio::test]
async fn connection_that_stalls_does_not_put_the_shutdown_off() {
    let server = start(config()).await;
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    let signature = nudj().sign("", 0, USER_UPDATED);
    let length = USER_UPDATED.len();
    let text = format!(
        "POST /webhooks HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nx-nudj-signature: {signature}\r\n\
         x-nudj-delivery-id: d1\r\ncontent-length: {length}\r\n\r\n"
    );
    stalled.write_all(text.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stalled.read_exact(&mut interim).await.unwrap();
    server.stop.send(()).unwrap();
    // Its shutdown has begun, though the connection is still there.
    let service = server.receiver.service();
    eventually("closed", async || {
        send(&service, delivery("d2", USER_UPDATED)).await == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    stalled.write_all(USER_UPDATED).await.unwrap();
    assert!(rest(stalled).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.task.await.unwrap().left, 0);
}
