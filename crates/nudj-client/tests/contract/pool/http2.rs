//! HTTP/2, spoken in raw frames: GOAWAY and refused streams come exactly where the test wants them.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use nudj_client::config::HttpVersion;
use nudj_tower::classify::TransportError;
use tower::ServiceExt;

use super::{
    Peer, Server,
    frames::{CANCEL, HEADERS, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR, REFUSED_STREAM, RST_STREAM, http2},
    hyper, is_unsent, says, spawned, transport_error,
};

#[tokio::test]
async fn all_calls_share_one_connection_also_those_that_came_before_it_was_made() {
    let server = Server::start().await;
    let hyper = http2();
    let calls: Vec<_> = (0..16).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut peer = server.accept_http2().await;
    for _ in &calls {
        peer.answer_next().await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn after_a_goaway_calls_under_way_end_and_new_ones_go_elsewhere() {
    let server = Server::start().await;
    let hyper = http2();
    let under_way = spawned(&hyper, Method::POST, &server.url);
    let mut old = server.accept_http2().await;
    let stream = old.stream().await.unwrap();
    old.go_away(stream, NO_ERROR).await;
    // Whether or not the client has read the GOAWAY, this one is answered elsewhere: the old server answers only what it named.
    let next = spawned(&hyper, Method::POST, &server.url);
    let mut new = tokio::select! {
        new = server.accept_http2() => new,
        other = async { while old.stream().await.is_some() {} std::future::pending::<Peer>().await } => other,
    };
    new.answer_next().await;
    next.await.unwrap().unwrap();
    old.answer_on(stream).await;
    under_way.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_goaway_that_names_no_stream_of_ours_sends_each_of_them_anew_once() {
    let server = Server::start().await;
    let hyper = http2();
    let calls: Vec<_> = (0..4).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut old = server.accept_http2().await;
    for _ in &calls {
        old.stream().await.unwrap();
    }
    old.go_away(0, NO_ERROR).await;
    let mut new = server.accept_http2().await;
    for _ in &calls {
        new.answer_next().await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(server.has_no_more().await, "one new connection for all");
    assert_eq!(old.stream().await, None);
}

#[tokio::test]
async fn a_refused_stream_is_sent_anew_once() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    for _ in 0..2 {
        let stream = peer.stream().await.unwrap();
        peer.reset(stream, REFUSED_STREAM).await;
    }
    let error = transport_error(call.await.unwrap());
    assert!(is_unsent(&error) && says(&error, "did not process"), "{error:?}");
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn what_a_peer_refused_since_it_takes_fewer_at_once_waits_its_turn() {
    let server = Server::start().await;
    let hyper = http2();
    let calls: Vec<_> = (0..20).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut peer = server.accept_http2_silently().await;
    let mut streams = Vec::new();
    for _ in &calls {
        streams.push(peer.stream().await.unwrap());
    }
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 2)]).await;
    for stream in &streams[2..] {
        peer.reset(*stream, REFUSED_STREAM).await;
    }
    for stream in &streams[..2] {
        peer.answer_on(*stream).await;
    }
    for _ in 2..calls.len() {
        peer.answer_next().await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_peer_that_says_goodbye_again_and_again_is_believed_for_a_while() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    for _ in 0..9 {
        let mut peer = server.accept_http2().await;
        peer.stream().await.unwrap();
        peer.go_away(0, NO_ERROR).await;
    }
    let error = transport_error(call.await.unwrap());
    assert!(is_unsent(&error) && says(&error, "did not process"), "{error:?}");
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_stream_reset_for_another_reason_may_have_been_processed_and_is_not_sent_anew() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    let stream = peer.stream().await.unwrap();
    peer.reset(stream, INTERNAL_ERROR).await;
    let error = transport_error(call.await.unwrap());
    assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{error:?}");
    // The connection is as good as it was.
    let call = spawned(&hyper, Method::POST, &server.url);
    peer.answer_next().await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_goaway_that_names_the_stream_and_a_close_may_have_been_processed() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    let stream = peer.stream().await.unwrap();
    peer.go_away(stream, NO_ERROR).await;
    drop(peer);
    let error = transport_error(call.await.unwrap());
    assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{error:?}");
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_cancelled_call_resets_its_stream_and_leaves_the_others() {
    let server = Server::start().await;
    let hyper = http2();
    let cancelled = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    peer.stream().await.unwrap();
    let other = spawned(&hyper, Method::POST, &server.url);
    let stream = peer.stream().await.unwrap();
    cancelled.abort();
    assert!(cancelled.await.unwrap_err().is_cancelled());
    let reset = peer.next(RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, reset.payload), (1, CANCEL.to_be_bytes().to_vec()));
    peer.answer_on(stream).await;
    other.await.unwrap().unwrap();
    let third = spawned(&hyper, Method::POST, &server.url);
    peer.answer_next().await;
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shared_connection_that_ended_unused_is_replaced() {
    let server = Server::start().await;
    let hyper = http2();
    for _ in 0..2 {
        let call = spawned(&hyper, Method::POST, &server.url);
        let mut peer = server.accept_http2().await;
        peer.answer_next().await;
        call.await.unwrap().unwrap();
        drop(peer);
        // Long enough for the pool to look before it sends.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_shared_connection_nobody_uses_is_closed_in_time_and_one_too_old_takes_no_call() {
    let server = Server::start().await;
    for (idle, age) in [(30, 0), (90_000, 1)] {
        let hyper = hyper(|config| {
            config.version = HttpVersion::Http2;
            config.pool_idle_timeout = Duration::from_millis(idle);
            config.pool_max_age = Duration::from_nanos(age);
        });
        let call = spawned(&hyper, Method::POST, &server.url);
        let mut old = server.accept_http2().await;
        old.answer_next().await;
        call.await.unwrap().unwrap();
        let next = if age == 0 { None } else { Some(spawned(&hyper, Method::POST, &server.url)) };
        assert_eq!(old.stream().await, None);
        if let Some(next) = next {
            let mut new = server.accept_http2().await;
            new.answer_next().await;
            next.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_the_streams() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    let stream = peer.stream().await.unwrap();
    let shutdown = tokio::spawn(async move { hyper.shutdown().await });
    tokio::task::yield_now().await;
    assert!(!shutdown.is_finished());
    peer.answer_on(stream).await;
    call.await.unwrap().unwrap();
    assert_eq!(peer.stream().await, None);
    shutdown.await.unwrap();
}

#[tokio::test]
async fn what_is_new_in_each_call_drives_nothing_out_of_the_table() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = None;
    let mut heads = Vec::new();
    for call in 0..200 {
        // In digits that all take five bits.
        let id: String = (0..36).map(|place| char::from(b'0' + u8::from(call >> (place % 8) & 1 == 1))).collect();
        let request = Request::get(&server.url)
            .header("x-correlation-id", &id)
            .header("traceparent", &id)
            .header("idempotency-key", &id)
            .header("user-agent", "the same in every call")
            .body(Full::default())
            .unwrap();
        let answered = tokio::spawn(hyper.clone().oneshot(request));
        if peer.is_none() {
            peer = Some(server.accept_http2().await);
        }
        let peer = peer.as_mut().unwrap();
        let head = peer.next(HEADERS).await.unwrap();
        heads.push(head.payload.len());
        peer.answer_on(head.stream).await;
        answered.await.unwrap().unwrap();
    }
    assert!(heads[1] < heads[0], "the second call finds what the first one left");
    assert!(heads[2..].iter().all(|length| *length == heads[1]), "{heads:?}");
}
