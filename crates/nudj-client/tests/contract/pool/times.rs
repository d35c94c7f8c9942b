//! The time of an attempt, which the connection's task keeps.

use nudj_tower::{
    Rejection,
    timeout::{AttemptTimeout, AttemptTimeoutConfig, AttemptTimeoutLayer},
};
use tokio::runtime::{Builder, Runtime};
use tower::Layer;

use super::*;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_ends_whatever_the_server_does_and_whenever() {
    const CALLS: usize = 1_500;
    let server = Server::start().await;
    let hyper = hyper(|config| config.pool_max_per_host = 8);
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
    assert!(all.1 > 0, "{all:?}");
}
