//! What goes back, what does not, and what replaces the dead.

use std::{
    io::{Read, Write},
    sync::mpsc,
    time::Duration,
};

use futures_util::FutureExt;
use http::Method;
use nudj_tower::classify::TransportError;

use super::{Server, call, hyper, is_unsent, spawned, transport_error};

#[tokio::test]
async fn target_and_host_are_written_as_http1_wants_them() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let answer = spawned(&hyper, Method::GET, &format!("{}a/b?c=%20d", server.url));
    let mut peer = server.accept().await;
    let head = peer.request().await;
    let authority = server.url.trim_start_matches("http://").trim_end_matches('/');
    assert!(head.starts_with("GET /a/b?c=%20d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {authority}\r\n")), "{head}");
    assert_eq!(head.matches("host:").count(), 1);
    peer.answer().await;
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn the_connection_used_last_is_used_next() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let (one, two) = (spawned(&hyper, Method::GET, &server.url), spawned(&hyper, Method::GET, &server.url));
    let (mut a, mut b) = (server.accept().await, server.accept().await);
    a.request().await;
    b.request().await;
    b.answer().await;
    // Whichever of the calls got it.
    let (first, second) = match futures_util::future::select(one, two).await {
        futures_util::future::Either::Left((first, second)) | futures_util::future::Either::Right((first, second)) => {
            (first, second)
        }
    };
    first.unwrap().unwrap();
    a.answer().await;
    second.await.unwrap().unwrap();
    for _ in 0..3 {
        let answer = spawned(&hyper, Method::GET, &server.url);
        a.request().await;
        a.answer().await;
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_answer_without_a_body_gives_its_connection_back_too() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let mut answer = spawned(&hyper, Method::HEAD, &server.url);
    let mut peer = server.accept().await;
    for _ in 0..3 {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        answer.await.unwrap().unwrap();
        answer = spawned(&hyper, Method::HEAD, &server.url);
    }
    peer.request().await;
}

#[tokio::test]
async fn a_chunked_and_a_zipped_answer_give_their_connection_back() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zipped.write_all(b"hello").unwrap();
    let zipped = zipped.finish().unwrap();
    let answer = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    answer.await.unwrap().unwrap();
    for framing in ["content-length", "chunked"] {
        let answer = spawned(&hyper, Method::GET, &server.url);
        peer.request().await;
        let (head, chunk, end) = match framing {
            "chunked" => ("transfer-encoding: chunked".to_owned(), format!("{:x}\r\n", zipped.len()), "\r\n0\r\n\r\n"),
            _ => (format!("content-length: {}", zipped.len()), String::new(), ""),
        };
        peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n{head}\r\n\r\n{chunk}")).await;
        tokio::io::AsyncWriteExt::write_all(&mut peer.0, &zipped).await.unwrap();
        peer.write(end).await;
        let body = answer.await.unwrap().unwrap().into_body();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        assert_eq!(body, "hello");
    }
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_cancelled_exchange_closes_its_connection() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let answer = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    answer.abort();
    peer.closed().await;
    let answer = spawned(&hyper, Method::GET, &server.url);
    server.serve_one().await;
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_dropped_before_its_end_closes_its_connection() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let answer = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
    tokio::task::yield_now().await;
    answer.abort();
    peer.closed().await;
}

#[tokio::test]
async fn a_body_over_the_limit_closes_its_connection() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.max_response_bytes = 10);
    let answer = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await;
    assert!(matches!(transport_error(answer.await.unwrap()), TransportError::BodyTooLarge { limit: 10 }));
    peer.closed().await;
}

#[tokio::test]
async fn a_connection_busy_with_an_upload_nobody_reads_takes_no_other_call() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let upload = http::Request::post(&server.url).body(vec![0; 32 << 20].into()).unwrap();
    let answer = tokio::spawn(tower::ServiceExt::oneshot(hyper.clone(), upload));
    let mut busy = server.accept().await;
    busy.request().await;
    busy.answer().await;
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    let answer = spawned(&hyper, Method::GET, &server.url);
    server.serve_one().await;
    answer.await.unwrap().unwrap();
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let hyper = hyper(|_| ());
    let answer = call(&hyper, Method::GET, "http://127.0.0.1:1/").now_or_never().unwrap();
    assert!(is_unsent(&transport_error(answer)));
}

#[tokio::test]
async fn a_truncated_answer_is_an_error_and_its_connection_is_gone() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    for broken in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsho",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "no http at all\r\n\r\n",
        "",
    ] {
        let answer = spawned(&hyper, Method::GET, &server.url);
        let mut peer = server.accept().await;
        peer.request().await;
        peer.write(broken).await;
        drop(peer);
        let error = transport_error(answer.await.unwrap());
        assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{broken:?}: {error:?}");
    }
    let answer = spawned(&hyper, Method::GET, &server.url);
    server.serve_one().await;
    answer.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_the_server_gives_up_after_its_answer_is_not_used_again() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    for _ in 0..3 {
        let answer = spawned(&hyper, Method::POST, &server.url);
        let mut peer = server.accept().await;
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn bytes_nobody_asked_for_answer_no_later_request() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let answer = spawned(&hyper, Method::GET, &server.url);
    let mut poisoned = server.serve_one().await;
    answer.await.unwrap().unwrap();
    poisoned.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    poisoned.closed().await;
    let answer = spawned(&hyper, Method::GET, &server.url);
    server.serve_one().await;
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
}

/// The server's end is in the operating system's hands, but no runtime has had a turn to see it: the call comes right then.
async fn died_idle() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answered, has_answered) = mpsc::channel();
    let (close, may_close) = mpsc::channel::<()>();
    let (closed, has_closed) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut requests = 0;
        for last in [false, true] {
            let (mut peer, _) = listener.accept().unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if peer.read(&mut byte).unwrap() == 0 {
                    break;
                }
                read.extend(byte);
            }
            requests += 1;
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
            answered.send(()).unwrap();
            if !last {
                may_close.recv().unwrap();
                // What the client sent on it would be lost, and seen here.
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                closed.send(()).unwrap();
                let mut rest = Vec::new();
                let _ = peer.read_to_end(&mut rest);
                assert!(rest.is_empty(), "sent on a dead connection: {:?}", String::from_utf8_lossy(&rest));
            }
        }
        requests
    });
    let hyper = hyper(|_| ());
    call(&hyper, Method::POST, &url).await.unwrap();
    has_answered.recv().unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    close.send(()).unwrap();
    has_closed.recv().unwrap();
    call(&hyper, Method::POST, &url).await.unwrap();
    assert_eq!(server.join().unwrap(), 2);
}

#[tokio::test]
async fn a_connection_that_died_idle_is_replaced_before_the_request_is_sent() {
    died_idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_died_idle_is_replaced_on_many_threads_too() {
    died_idle().await;
}

#[test]
fn a_runtime_that_ended_takes_its_connections_along_and_the_next_makes_its_own() {
    let hyper = hyper(|_| ());
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start().await;
            let answer = spawned(&hyper, Method::GET, &server.url);
            server.serve_one().await;
            answer.await.unwrap().unwrap();
        });
    }
}
