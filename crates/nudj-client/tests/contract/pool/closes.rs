//! A server that closes after each answer and does not say so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use http::Method;
use nudj_client::{config::Transport, transport::Hyper};
use nudj_tower::classify::TransportError;
use socket2::SockRef;

use super::{Peer, Server, call, hyper, transport_error};

const WORKERS: usize = 4;
const CALLS: usize = 500;

/// How often each request came, by its first line.
type Seen = Arc<Mutex<HashMap<String, usize>>>;

/// Answers one request per connection. With `at_once` answer and end come in one segment, so that nobody has the one without the other.
fn closing(server: Server, at_once: bool) -> Seen {
    let seen = Seen::default();
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let peer = server.accept().await;
            tokio::spawn(serve(peer, at_once, Arc::clone(&counted)));
        }
    });
    seen
}

async fn serve(mut peer: Peer, at_once: bool, seen: Seen) {
    let Some(head) = peer.try_request().await else { return };
    *seen.lock().unwrap().entry(head.lines().next().unwrap().to_owned()).or_default() += 1;
    SockRef::from(&peer.0).set_tcp_cork(at_once).unwrap();
    peer.answer().await;
    SockRef::from(&peer.0).shutdown(std::net::Shutdown::Write).unwrap();
    // What is sent on it from here on is counted too, and gets no answer.
    if let Some(head) = peer.try_request().await {
        *seen.lock().unwrap().entry(head.lines().next().unwrap().to_owned()).or_default() += 1;
    }
}

/// Calls from several workers; the errors.
async fn calls(hyper: &Hyper, url: &str) -> Vec<TransportError> {
    let workers = (0..WORKERS).map(|worker| {
        let (hyper, url) = (hyper.clone(), url.to_owned());
        tokio::spawn(async move {
            let mut errors = Vec::new();
            for number in 0..CALLS {
                let answered = call(&hyper, Method::POST, &format!("{url}{worker}/{number}")).await;
                if answered.is_err() {
                    errors.push(transport_error(answered));
                }
            }
            errors
        })
    });
    futures_util::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_comes_with_the_answer_fails_no_later_call() {
    let server = Server::start().await;
    let (hyper, url) = (hyper(|_| ()), server.url.clone());
    let seen = closing(server, true);
    let errors = calls(&hyper, &url).await;
    assert!(errors.is_empty(), "{} failed, the first by {:?}", errors.len(), errors[0]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), WORKERS * CALLS);
    assert!(seen.values().all(|times| *times == 1), "sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_crosses_the_servers_end_is_told_and_not_sent_again() {
    let server = Server::start().await;
    let (hyper, url) = (hyper(|_| ()), server.url.clone());
    let seen = closing(server, false);
    let errors = calls(&hyper, &url).await;
    println!("{} of {} crossed the server's end", errors.len(), WORKERS * CALLS);
    // Whether the server has seen one of these nobody knows here, so the caller must be told just that.
    assert!(errors.iter().all(TransportError::was_sent), "{errors:?}");
    let seen = seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1), "sent twice");
    assert!(seen.len() + errors.len() >= WORKERS * CALLS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_it_sent_again_by_the_legacy_transport() {
    let server = Server::start().await;
    let (hyper, url) = (hyper(|config| config.transport = Transport::Legacy), server.url.clone());
    let seen = closing(server, false);
    let errors = calls(&hyper, &url).await;
    let seen = seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1), "sent twice");
    assert!(seen.len() + errors.len() >= WORKERS * CALLS);
}
