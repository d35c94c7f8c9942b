//! The time of an attempt, which the connection's task keeps.

use nudj_tower::{
    Rejection,
    timeout::{AttemptTimeout, AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use tokio::runtime::{Builder, Runtime};
use tower::Layer;

use super::{
    frames::{CANCEL, DATA, END_HEADERS, HEADERS, OK, RST_STREAM, http2},
    *,
};

const LIMIT: Duration = Duration::from_millis(200);
const MINUTE: Duration = Duration::from_secs(60);

fn timed(hyper: &Hyper) -> AttemptTimeout<Hyper> {
    AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: LIMIT }).unwrap().one_task().layer(hyper.clone())
}

async fn ask(service: AttemptTimeout<Hyper>, url: &str) -> Answered {
    service.oneshot(Request::get(url).body(Full::default()).unwrap()).await
}

fn is_time_out(answered: &Answered) -> bool {
    answered.as_ref().is_err_and(|error| Rejection::find(&**error) == Some(&Rejection::AttemptTimeout { limit: LIMIT }))
}

#[tokio::test]
async fn a_call_that_hangs_ends_in_its_time_and_its_connection_with_it() {
    let (server, hyper) = (Server::start().await, hyper(|_| {}));
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"] {
        // Over a connection that is at hand: to one that has to wait for its connection the layer's own timer applies.
        let (answered, mut peer) = tokio::join!(call(&hyper, Method::GET, &server.url), server.serve_one());
        assert!(answered.is_ok());
        let started = tokio::time::Instant::now();
        let hung = async {
            peer.request().await;
            // Nobody may be there any more, on a machine that is slow.
            let _ = peer.0.write_all(part.as_bytes()).await;
            peer.closed().await;
        };
        let (answered, ()) = tokio::join!(ask(timed(&hyper), &server.url), hung);
        assert!(is_time_out(&answered), "{answered:?}");
        assert!(started.elapsed() >= LIMIT);
    }
}

#[tokio::test]
async fn the_connection_ends_in_time_although_nobody_looks_after_the_call() {
    let (server, hyper) = (Server::start().await, hyper(|_| {}));
    let (answered, mut peer) = tokio::join!(call(&hyper, Method::GET, &server.url), server.serve_one());
    assert!(answered.is_ok());
    let mut call = tokio_test::task::spawn(Box::pin(ask(timed(&hyper), &server.url)));
    assert!(call.poll().is_pending());
    let ended = async {
        peer.request().await;
        peer.closed().await;
    };
    tokio::time::timeout(MINUTE, ended).await.expect("the connection's own task ends it");
    assert!(call.is_woken());
    let std::task::Poll::Ready(answered) = call.poll() else { panic!("it has ended") };
    assert!(is_time_out(&answered), "{answered:?}");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_call_ends_in_its_time_also_where_nobody_drives_the_connection() {
    let hyper = hyper(|_| {});
    let (made_it, calls) = (runtime(), runtime());
    let (server, peer) = made_it.block_on(async {
        let server = Server::start().await;
        let (answered, peer) = tokio::join!(call(&hyper, Method::GET, &server.url), server.serve_one());
        assert!(answered.is_ok());
        (server, peer)
    });
    // The connection's runtime is there, but nothing moves in it.
    let answered = calls.block_on(async { tokio::time::timeout(MINUTE, ask(timed(&hyper), &server.url)).await });
    assert!(is_time_out(&answered.expect("the attempt ends")));
    assert!(made_it.block_on(server.has_no_more()), "it was sent over the one that nobody drives");
    drop(peer);
}

#[tokio::test]
async fn over_http2_a_call_that_hangs_ends_in_its_time_alone() {
    let (server, hyper) = (Server::start().await, http2());
    let other = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept_http2().await;
    let others = peer.stream().await.unwrap();
    for part in [None, Some(&b"half of"[..])] {
        let started = tokio::time::Instant::now();
        let hung = async {
            let stream = peer.stream().await.unwrap();
            if let Some(part) = part {
                peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
                peer.frame(DATA, 0, stream, part).await;
            }
            let reset = peer.next(RST_STREAM).await.unwrap();
            assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
        };
        let (answered, ()) = tokio::join!(ask(timed(&hyper), &server.url), hung);
        assert!(is_time_out(&answered), "{answered:?}");
        assert!(started.elapsed() >= LIMIT);
    }
    peer.answer_on(others).await;
    other.await.unwrap().unwrap();
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn over_http2_whoever_polls_a_call_last_is_woken_when_it_is_late() {
    let (server, hyper) = (Server::start().await, http2());
    let first = spawned(&hyper, Method::GET, &server.url);
    let mut peer = server.accept_http2().await;
    peer.answer_next().await;
    first.await.unwrap().unwrap();
    for part in [None, Some(&b"half of"[..])] {
        let (service, url) = (timed(&hyper), server.url.clone());
        let mut call = Box::pin(async move { ask(service, &url).await });
        assert!(tokio_test::task::spawn(&mut call).poll().is_pending());
        let stream = peer.stream().await.unwrap();
        if let Some(part) = part {
            peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
            peer.frame(DATA, 0, stream, part).await;
            peer.sees_no_request().await;
            assert!(tokio_test::task::spawn(&mut call).poll().is_pending());
        }
        // Before the keep-alive asks.
        let answered = tokio::time::timeout(MINUTE / 4, tokio::spawn(call)).await.expect("the attempt ends").unwrap();
        assert!(is_time_out(&answered), "{answered:?}");
    }
}

#[test]
fn over_http2_a_call_ends_in_its_time_also_where_nobody_drives_the_connection() {
    let hyper = http2();
    let (made_it, calls) = (runtime(), runtime());
    let (server, _peer) = made_it.block_on(async {
        let server = Server::start().await;
        let call = spawned(&hyper, Method::GET, &server.url);
        let mut peer = server.accept_http2().await;
        peer.answer_next().await;
        call.await.unwrap().unwrap();
        (server, peer)
    });
    let answered = calls.block_on(async { tokio::time::timeout(MINUTE, ask(timed(&hyper), &server.url)).await });
    assert!(is_time_out(&answered.expect("the attempt ends")));
}

/// A peer over HTTP/2 that answers a few calls, lets others hang, breaks off in the midst of an answer, refuses, says goodbye or just ends.
async fn erratic(socket: TcpStream, mut served: usize) {
    let Ok(mut peer) = h2::server::Builder::new().max_concurrent_streams(4).handshake::<_, Bytes>(socket).await else {
        return;
    };
    let mut hanging = Vec::new();
    while let Some(Ok((_, mut answer))) = peer.accept().await {
        served += 1;
        let ok = Response::new(());
        // Of a call that is late the stream is gone already.
        match served % 11 {
            0 => hanging.push((answer, None)),
            1 => {
                if let Ok(mut body) = answer.send_response(ok, false) {
                    drop(body.send_data(Bytes::from_static(b"half of"), false));
                    hanging.push((answer, Some(body)));
                }
            }
            2 => answer.send_reset(h2::Reason::REFUSED_STREAM),
            3 => answer.send_reset(h2::Reason::INTERNAL_ERROR),
            4 if served.is_multiple_of(3) => peer.graceful_shutdown(),
            5 if served.is_multiple_of(7) => return,
            _ => drop(answer.send_response(ok, true)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_http2_every_call_ends_whatever_the_server_does_and_whenever() {
    let server = Server::start().await;
    let url = server.url.clone();
    tokio::spawn(async move {
        for served in 0.. {
            tokio::spawn(erratic(server.accept().await.0, served));
        }
    });
    every_call_ends(http2(), url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_ends_whatever_the_server_does_and_whenever() {
    let server = Server::start().await;
    let url = server.url.clone();
    tokio::spawn(async move {
        let mut served = 0_usize;
        loop {
            let mut peer = server.accept().await;
            served += 1;
            tokio::spawn(async move {
                // Each connection answers a few calls, and then hangs, breaks off in the midst of an answer, or ends.
                for _ in 0..served % 7 {
                    if peer.try_request().await.is_none() {
                        return;
                    }
                    let _ = peer.0.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
                if served.is_multiple_of(3) || peer.try_request().await.is_none() {
                    return;
                }
                let part: &[u8] =
                    if served.is_multiple_of(2) { b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no" } else { b"" };
                let _ = peer.0.write_all(part).await;
                if !served.is_multiple_of(5) {
                    let _ = peer.0.read_u8().await;
                }
            });
        }
    });
    every_call_ends(hyper(|config| config.pool_max_per_host = 8), url).await;
}

/// Some well, and some not.
async fn every_call_ends(hyper: Hyper, url: String) {
    const CALLS: usize = 1_500;
    let limit = Duration::from_millis(5);
    let layer = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: limit }).unwrap().one_task();
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (service, url) = (layer.layer(hyper.clone()), url.clone());
            tokio::spawn(async move {
                let mut ended = (0, 0);
                for _ in 0..CALLS / 16 {
                    match tokio::time::timeout(MINUTE, ask(service.clone(), &url)).await.expect("the attempt ends") {
                        Ok(_) => ended.0 += 1,
                        Err(_) => ended.1 += 1,
                    }
                }
                ended
            })
        })
        .collect();
    let mut all = (0, 0);
    for caller in callers {
        let ended = caller.await.unwrap();
        all = (all.0 + ended.0, all.1 + ended.1);
    }
    assert_eq!(all.0 + all.1, CALLS / 16 * 16);
    assert!(all.0 > 0 && all.1 > 0, "{all:?}");
    tokio::time::timeout(MINUTE, hyper.shutdown()).await.expect("each has given back what it had");
}
