//! How many connections, how many wait, and for how long.

use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use http::Method;
use nudj_tower::classify::TransportError;

use super::{Server, call, hyper, says, spawned, transport_error};

#[tokio::test]
async fn no_more_connections_are_opened_than_may_be_and_those_who_wait_are_served_in_their_order() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_per_host = 1);
    let path = |name: &str| format!("{}{name}", server.url);
    let first = spawned(&hyper, Method::GET, &path("first"));
    let mut peer = server.accept().await;
    peer.request().await;
    let mut later = Vec::new();
    for name in ["second", "third", "fourth"] {
        let mut call = Box::pin(call(&hyper, Method::GET, &path(name)));
        assert!((&mut call).now_or_never().is_none());
        later.push((name, call));
    }
    assert!(server.has_no_more().await);
    peer.answer().await;
    first.await.unwrap().unwrap();
    // The second is cancelled; the third takes its turn.
    drop(later.remove(0));
    for (name, call) in later {
        let call = tokio::spawn(call);
        assert!(peer.request().await.starts_with(&format!("GET /{name} ")));
        peer.answer().await;
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_connection_granted_to_a_call_that_is_gone_serves_the_next() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_per_host = 1);
    let mut first = Box::pin(call(&hyper, Method::GET, &server.url));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(call(&hyper, Method::GET, &server.url));
    assert!((&mut second).now_or_never().is_none());
    let mut peer = server.accept().await;
    // Granted by the connection's task, and dropped unseen.
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(first);
    let second = tokio::spawn(second);
    peer.request().await;
    peer.answer().await;
    second.await.unwrap().unwrap();
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_call_too_many_is_refused_and_a_cancelled_one_makes_room() {
    let server = Server::start().await;
    let hyper = hyper(|config| {
        config.pool_max_per_host = 1;
        config.pool_max_waiting = 1;
    });
    let first = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    let mut waits = Box::pin(call(&hyper, Method::GET, &server.url));
    assert!((&mut waits).now_or_never().is_none());
    let error = transport_error(call(&hyper, Method::GET, &server.url).await);
    assert!(matches!(error, TransportError::Busy(_)) && says(&error, "1 calls wait"), "{error:?}");
    drop(waits);
    let waits = spawned(&hyper, Method::GET, &server.url);
    peer.answer().await;
    first.await.unwrap().unwrap();
    peer.request().await;
    peer.answer().await;
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_ends_in_time() {
    let server = Server::start().await;
    let hyper = hyper(|config| {
        config.pool_max_per_host = 1;
        config.pool_max_wait = Duration::from_millis(30);
    });
    let _first = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    let error = transport_error(call(&hyper, Method::GET, &server.url).await);
    assert!(matches!(error, TransportError::Busy(_)) && says(&error, "busy for 30ms"), "{error:?}");
}

#[tokio::test]
async fn no_more_unused_connections_are_kept_than_may_be() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_idle_per_host = 1);
    let calls = [spawned(&hyper, Method::GET, &server.url), spawned(&hyper, Method::GET, &server.url)];
    let mut peers = [server.accept().await, server.accept().await];
    for peer in &mut peers {
        peer.request().await;
    }
    for peer in &mut peers {
        peer.answer().await;
    }
    for call in join_all(calls).await {
        call.unwrap().unwrap();
    }
    let [a, b] = &mut peers;
    let kept = tokio::select! { () = a.closed() => b, () = b.closed() => a };
    let next = spawned(&hyper, Method::GET, &server.url);
    kept.request().await;
    kept.answer().await;
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_nobody_uses_is_closed_in_time() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_idle_timeout = Duration::from_millis(30));
    for _ in 0..2 {
        let answer = spawned(&hyper, Method::GET, &server.url);
        let mut peer = server.serve_one().await;
        answer.await.unwrap().unwrap();
        // By itself, with no call to notice.
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_connection_too_old_takes_no_call() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_age = Duration::from_nanos(1));
    for _ in 0..2 {
        let answer = spawned(&hyper, Method::GET, &server.url);
        let mut peer = server.serve_one().await;
        answer.await.unwrap().unwrap();
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_connect_error_in_time() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.connect_timeout = Duration::from_millis(50));
    let url = server.url.replace("http", "https");
    let calls = (0..3).map(|_| call(&hyper, Method::POST, &url));
    for error in join_all(calls).await.into_iter().map(transport_error) {
        assert!(matches!(error, TransportError::Connect(_)) && says(&error, "within 50ms"), "{error:?}");
    }
    let _accepted = server.accept().await;
    assert!(server.has_no_more().await, "one connection was made for all until ALPN tells more");
}

#[tokio::test]
async fn to_wait_for_connections_that_are_still_being_made_is_a_connect_error() {
    let server = Server::start().await;
    let hyper = hyper(|config| {
        config.connect_timeout = Duration::from_secs(600);
        config.pool_max_wait = Duration::from_millis(50);
    });
    let url = server.url.replace("http", "https");
    for _ in 0..2 {
        let error = transport_error(call(&hyper, Method::POST, &url).await);
        assert!(matches!(error, TransportError::Connect(_)) && says(&error, "made within 50ms"), "{error:?}");
    }
}

#[tokio::test]
async fn each_call_is_told_that_nobody_listens() {
    let server = Server::start().await;
    let url = server.url.clone();
    drop(server);
    let hyper = hyper(|config| config.pool_max_per_host = 2);
    for error in join_all((0..16).map(|_| call(&hyper, Method::POST, &url))).await.into_iter().map(transport_error) {
        assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_said() {
    let hyper = hyper(|_| ());
    for (method, url) in [(Method::GET, "/no/host"), (Method::CONNECT, "http://127.0.0.1:1/")] {
        let error = transport_error(call(&hyper, method, url).await);
        assert!(matches!(error, TransportError::InvalidRequest(_)), "{error:?}");
    }
}
