//! Faults of connections, over real sockets.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use nudj_mock::{Fault, MockError, MockNudj};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{Http, request};

const USERS: &str = "/api/v2/admin/users";

/// Sends one request on a fresh connection and reads until the mock closes it.
async fn raw(mock: &MockNudj, instance: usize) -> std::io::Result<String> {
    // Only so that a mock that never closes fails the test, not hangs it.
    let read = tokio::time::timeout(Duration::from_secs(20), raw_unbounded(mock, instance));
    read.await.expect("the mock never closed the connection")
}

async fn raw_unbounded(mock: &MockNudj, instance: usize) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(mock.addrs()[instance]).await?;
    let request =
        format!("GET {USERS} HTTP/1.1\r\nhost: mock\r\nx-api-token: {}\r\nconnection: close\r\n\r\n", mock.token());
    stream.write_all(request.as_bytes()).await?;
    let mut read = String::new();
    stream.read_to_string(&mut read).await?;
    Ok(read)
}

#[tokio::test]
async fn a_connection_is_reused_and_counted_once() {
    let mock = MockNudj::start().await.unwrap();
    let http = Http::new();
    for _ in 0..5 {
        assert_eq!(http.get(&mock, USERS).await.unwrap().status, StatusCode::OK);
    }
    assert_eq!((mock.accepted_connections(), mock.request_count()), (1, 5));
    raw(&mock, 0).await.unwrap();
    assert_eq!((mock.accepted_connections_of(0), mock.accepted_connections_of(9)), (2, 0));
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let mock = MockNudj::start().await.unwrap();
    let http = Http::with(true);
    let answers = futures_util::future::join_all((0..20).map(|_| http.get(&mock, USERS))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status == 200));
    assert_eq!(http.get(&mock, USERS).await.unwrap().status, StatusCode::OK);
    // A fault that closes the connection closes it for every stream on it.
    mock.inject(Fault::close().times(1));
    assert!(http.get(&mock, USERS).await.is_err());
    assert_eq!(http.get(&mock, USERS).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_closed_connection_sends_not_one_byte() {
    let mock = MockNudj::start().await.unwrap();
    mock.inject(Fault::close().times(1));
    mock.inject(Fault::lost_answer().times(1));
    for _ in 0..2 {
        assert_eq!(raw(&mock, 0).await.unwrap_or_default(), "");
    }
    assert!(raw(&mock, 0).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_truncated_body_announces_its_full_length() {
    let mock = MockNudj::start().await.unwrap();
    let whole = raw(&mock, 0).await.unwrap();
    let (_, whole) = whole.split_once("\r\n\r\n").unwrap();
    for (ask, sent) in [(7, 7), (0, 0), (10_000, whole.len() - 1)] {
        mock.inject(Fault::truncated(ask).times(1));
        let cut = raw(&mock, 0).await.unwrap();
        let (head, body) = cut.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", whole.len())), "{head}");
        assert_eq!(body, &whole[..sent]);
    }
    let http = Http::new();
    mock.inject(Fault::truncated(3).times(1));
    assert!(http.get(&mock, USERS).await.is_err());
}

#[tokio::test]
async fn a_client_that_stops_inside_its_own_body_is_let_go() {
    let mock = MockNudj::start().await.unwrap();
    let mut stream = TcpStream::connect(mock.addrs()[0]).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: mock\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    stream.shutdown().await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 1])).await.expect("it stays open");
    assert_eq!((end.unwrap_or(0), mock.request_count()), (0, 0));
}

#[tokio::test]
async fn a_dripping_body_comes_in_pieces() {
    let mock = MockNudj::start().await.unwrap();
    mock.inject(Fault::drip(4, Duration::from_millis(1)).times(1));
    let http = Http::new();
    let asked = request(Method::GET, &format!("{}{USERS}", mock.url()), mock.token(), None);
    let mut body = http.client.request(asked).await.unwrap().into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        pieces.push(frame.unwrap().into_data().unwrap());
    }
    assert_eq!(pieces.concat(), *http.get(&mock, USERS).await.unwrap().bytes);
    assert!(pieces.len() > 1);
}

#[tokio::test]
async fn a_huge_body_is_streamed_and_can_be_left_early() {
    let mock = MockNudj::start().await.unwrap();
    mock.inject(Fault::huge_body(1 << 40).times(1));
    let http = Http::new();
    let asked = request(Method::GET, &format!("{}{USERS}", mock.url()), mock.token(), None);
    let answer = http.client.request(asked).await.unwrap();
    assert_eq!(answer.headers()["content-length"], (1_u64 << 40).to_string());
    let mut body = answer.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.iter().all(|byte| *byte == b'x'));
    drop(body);
    assert_eq!(http.get(&mock, USERS).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_killed_instance_drops_its_connections_refuses_and_comes_back_on_its_port() {
    let mock = MockNudj::start_many(3).await.unwrap();
    let urls = mock.urls();
    let http = Http::new();
    // A call that hangs at instance 1 while it is killed.
    mock.inject(Fault::hang().instance(1));
    let hanging = tokio::spawn({
        let (asked, http) = (request(Method::GET, &format!("{}{USERS}", urls[1]), mock.token(), None), Http::new());
        async move { http.send(asked).await }
    });
    while mock.request_count() == 0 {
        tokio::task::yield_now().await;
    }
    mock.kill(1).await.unwrap();
    assert!(hanging.await.unwrap().is_err());
    mock.clear_faults();
    for _ in 0..2 {
        let refused = TcpStream::connect(mock.addrs()[1]).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        // Killed again, it stays as it is, and the port stays ours.
        mock.kill(1).await.unwrap();
    }
    assert!(!mock.is_up(1));
    // The others still serve the same data.
    let created =
        request(Method::POST, &format!("{}{USERS}", urls[0]), mock.token(), Some(&serde_json::json!({"email": "a@b"})));
    assert_eq!(http.send(created).await.unwrap().status, StatusCode::OK);
    mock.revive(1).await.unwrap();
    mock.revive(1).await.unwrap();
    assert!(mock.is_up(1) && mock.urls() == urls);
    let seen = http.send(request(Method::GET, &format!("{}{USERS}", urls[1]), mock.token(), None)).await.unwrap();
    assert_eq!(seen.json["totalCount"], 1);
    assert_eq!(mock.received().at_instance(1).len(), 2);
    assert!(matches!(mock.kill(3).await, Err(MockError::NoInstance { index: 3, instances: 3 })));
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_the_kill() {
    let mock = MockNudj::start().await.unwrap();
    let mut stream = TcpStream::connect(mock.addrs()[0]).await.unwrap();
    while mock.accepted_connections() == 0 {
        tokio::task::yield_now().await;
    }
    mock.kill(0).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 1])).await.expect("it stays open");
    assert_eq!(end.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_killed_instances_port_is_held_for_it() {
    // Without connections, so that none lingers on the port and holds it in our place.
    let mock = MockNudj::start().await.unwrap();
    for _ in 0..2 {
        mock.kill(0).await.unwrap();
        let other = tokio::net::TcpSocket::new_v4().unwrap();
        assert_eq!(other.bind(mock.addrs()[0]).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
    mock.revive(0).await.unwrap();
    assert!(raw(&mock, 0).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn dropping_the_mock_frees_its_port() {
    let mock = MockNudj::start().await.unwrap();
    let addr = mock.addrs()[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    drop(mock);
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0; 1])).await.expect("it stays open");
    assert_eq!(end.unwrap_or(0), 0);
    let again = MockNudj::builder().bind(addr).start().await.unwrap();
    assert_eq!(again.addrs(), [addr]);
    assert!(matches!(MockNudj::builder().bind(addr).start().await, Err(MockError::Bind { .. })));
    assert!(matches!(MockNudj::builder().bind(addr).instances(2).start().await, Err(MockError::OnePort { .. })));
}
