//! The pool against servers that are written out by hand, so that each byte and each close comes when the test says.

mod at_once;
#[cfg(target_os = "linux")]
mod closes;
mod ends;
mod frames;
mod http2;
mod limits;
mod reuse;
mod streams;
mod times;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use nudj_client::{
    config::{HttpConfig, Transport},
    transport::Hyper,
};
use nudj_tower::{BoxError, classify::TransportError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::ServiceExt;

fn config() -> HttpConfig {
    HttpConfig { transport: Transport::Pool, allow_http: true, ..HttpConfig::default() }
}

fn hyper(change: impl FnOnce(&mut HttpConfig)) -> Hyper {
    let mut config = config();
    change(&mut config);
    Hyper::new(&config).unwrap()
}

type Answered = Result<Response<Full<Bytes>>, BoxError>;

fn call(hyper: &Hyper, method: Method, url: &str) -> impl Future<Output = Answered> + Send + 'static {
    let request = Request::builder().method(method).uri(url).body(Full::default()).unwrap();
    hyper.clone().oneshot(request)
}

/// Runs by itself, so that it goes on while the test plays the server.
fn spawned(hyper: &Hyper, method: Method, url: &str) -> tokio::task::JoinHandle<Answered> {
    tokio::spawn(call(hyper, method, url))
}

fn transport_error(answered: Answered) -> TransportError {
    *answered.unwrap_err().downcast::<TransportError>().unwrap()
}

fn says(error: &TransportError, text: &str) -> bool {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    cause.contains(text)
}

struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        Self { listener, url }
    }

    async fn accept(&self) -> Peer {
        Peer(self.listener.accept().await.unwrap().0)
    }

    /// Takes one request on a new connection and answers it.
    async fn serve_one(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.request().await;
        peer.answer().await;
        peer
    }

    /// Nobody has connected beyond those that were accepted.
    async fn has_no_more(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(20), self.listener.accept()).await.is_err()
    }
}

/// The server's end of one connection.
struct Peer(TcpStream);

impl Peer {
    /// Reads one request without a body, as text.
    async fn request(&mut self) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(read).unwrap()
    }

    /// As [`request`](Self::request); `None` when the client has closed instead.
    async fn try_request(&mut self) -> Option<String> {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(self.0.read_u8().await.ok()?);
        }
        String::from_utf8(read).ok()
    }

    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) {
        self.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }

    /// Ends when the client has closed.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close as well.
        let _ = self.0.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}

fn is_unsent(error: &TransportError) -> bool {
    matches!(error, TransportError::Unsent(_)) && !error.was_sent()
}
