//! Shutting down, and being dropped.

use http::Method;
use nudj_tower::classify::TransportError;

use super::{Server, call, hyper, says, spawned, transport_error};

#[tokio::test]
async fn a_shutdown_lets_the_last_answer_come_and_refuses_the_next_call() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_per_host = 2);
    let (last, idle) = (spawned(&hyper, Method::GET, &server.url), spawned(&hyper, Method::GET, &server.url));
    let (mut a, mut b) = (server.accept().await, server.accept().await);
    a.request().await;
    b.request().await;
    b.answer().await;
    let (last, idle) = match futures_util::future::select(last, idle).await {
        futures_util::future::Either::Left((idle, last)) | futures_util::future::Either::Right((idle, last)) => {
            (last, idle)
        }
    };
    idle.unwrap().unwrap();
    let shutdown = tokio::spawn({
        let hyper = hyper.clone();
        async move { hyper.shutdown().await }
    });
    b.closed().await;
    let error = transport_error(call(&hyper, Method::GET, &server.url).await);
    assert!(matches!(error, TransportError::Closed(_)) && says(&error, "shut down"), "{error:?}");
    let error = transport_error(call(&hyper, Method::GET, "http://127.0.0.1:1/").await);
    assert!(says(&error, "shut down"), "{error:?}");
    assert!(!shutdown.is_finished());
    a.answer().await;
    last.await.unwrap().unwrap();
    a.closed().await;
    shutdown.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_refuses_those_who_wait() {
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_per_host = 1);
    let last = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept().await;
    peer.request().await;
    let waits = spawned(&hyper, Method::GET, &server.url);
    tokio::task::yield_now().await;
    let (answer, ()) = tokio::join!(
        async {
            let error = transport_error(waits.await.unwrap());
            assert!(says(&error, "shut down"), "{error:?}");
            peer.answer().await;
            last.await.unwrap()
        },
        hyper.shutdown()
    );
    answer.unwrap();
}

#[tokio::test]
async fn the_last_handles_end_closes_what_is_unused_and_lets_calls_end() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let (one, two) = (spawned(&hyper, Method::GET, &server.url), spawned(&hyper, Method::GET, &server.url));
    let (mut a, mut b) = (server.accept().await, server.accept().await);
    a.request().await;
    b.request().await;
    drop(hyper);
    for (peer, _) in [(&mut a, ()), (&mut b, ())] {
        peer.answer().await;
        peer.closed().await;
    }
    one.await.unwrap().unwrap();
    two.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_whose_client_is_gone_still_gets_its_connection() {
    let server = Server::start().await;
    let hyper = hyper(|_| ());
    let call = call(&hyper, Method::GET, &server.url);
    drop(hyper);
    let call = tokio::spawn(call);
    server.serve_one().await.closed().await;
    call.await.unwrap().unwrap();
}
