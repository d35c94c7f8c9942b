//! How many HTTP/2 streams at once, and those who wait for one.

use std::time::Duration;

use http::Method;
use nudj_client::{config::HttpVersion, transport::Hyper};
use nudj_tower::classify::TransportError;
use tokio::time::Instant;

use super::{
    Server,
    frames::{CANCEL, HEADERS, MAX_CONCURRENT_STREAMS, NO_ERROR, RST_STREAM, http2, settled},
    hyper, says, spawned, transport_error,
};

#[tokio::test]
async fn streams_beyond_the_peers_limit_wait_their_turn() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 2).await;
    let calls: Vec<_> = (0..6).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut open = vec![peer.stream().await.unwrap(), peer.stream().await.unwrap()];
    for answered in 1..=calls.len() {
        peer.sees_no_request().await;
        peer.answer_on(open.remove(0)).await;
        if answered + open.len() < calls.len() {
            open.push(peer.stream().await.unwrap());
        }
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn no_more_than_a_hundred_are_opened_before_the_peer_has_said_how_many_it_takes() {
    let server = Server::start().await;
    let hyper = http2();
    let calls: Vec<_> = (0..150).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut peer = server.accept_http2_silently().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(peer.stream().await.unwrap());
    }
    peer.sees_no_request().await;
    // And all that it takes as soon as it has.
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 150)]).await;
    for _ in 100..150 {
        open.push(peer.stream().await.unwrap());
    }
    for stream in open {
        peer.answer_on(stream).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_peer_that_takes_more_than_before_is_sent_more() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 1).await;
    let calls: Vec<_> = (0..3).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut open = vec![peer.stream().await.unwrap()];
    peer.sees_no_request().await;
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 3)]).await;
    open.extend([peer.stream().await.unwrap(), peer.stream().await.unwrap()]);
    for stream in open {
        peer.answer_on(stream).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn those_who_wait_for_a_stream_do_not_wait_for_a_peer_that_says_goodbye() {
    let server = Server::start().await;
    let hyper = http2();
    let mut old = settled(&server, &hyper, 1).await;
    let under_way = spawned(&hyper, Method::POST, &server.url);
    let stream = old.stream().await.unwrap();
    let waiting: Vec<_> = (0..2).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    old.sees_no_request().await;
    old.go_away(stream, NO_ERROR).await;
    let mut new = server.accept_http2().await;
    for _ in &waiting {
        new.answer_next().await;
    }
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    old.answer_on(stream).await;
    under_way.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cancelled_call_that_was_the_last_there_is_room_for_is_reset_at_once() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 1).await;
    let cancelled = spawned(&hyper, Method::POST, &server.url);
    let stream = peer.stream().await.unwrap();
    cancelled.abort();
    // Without another call, and not when the connection ends.
    let reset = tokio::time::timeout(Duration::from_secs(15), peer.next(RST_STREAM)).await.expect("at once").unwrap();
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn a_shutdown_refuses_those_who_wait_for_a_stream_and_waits_for_those_who_have_one() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 1).await;
    let under_way = spawned(&hyper, Method::POST, &server.url);
    let stream = peer.stream().await.unwrap();
    let waiting = spawned(&hyper, Method::POST, &server.url);
    peer.sees_no_request().await;
    let shutdown = tokio::spawn(async move { hyper.shutdown().await });
    assert!(matches!(transport_error(waiting.await.unwrap()), TransportError::Closed(_)));
    assert!(!shutdown.is_finished());
    peer.answer_on(stream).await;
    under_way.await.unwrap().unwrap();
    shutdown.await.unwrap();
    assert_eq!(peer.stream().await, None);
}

#[tokio::test]
async fn those_who_wait_for_a_stream_are_served_also_when_nobody_else_has_the_transport_any_more() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 1).await;
    let calls: Vec<_> = (0..3).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut stream = peer.stream().await.unwrap();
    drop(hyper);
    for left in (0..calls.len()).rev() {
        peer.answer_on(stream).await;
        if left > 0 {
            stream = peer.stream().await.unwrap();
        }
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(peer.stream().await, None, "and then the connection ends");
}

#[tokio::test]
async fn those_who_wait_for_a_stream_go_over_another_connection_when_this_one_ends() {
    let server = Server::start().await;
    let hyper = http2();
    let mut old = settled(&server, &hyper, 1).await;
    let sent = spawned(&hyper, Method::POST, &server.url);
    old.stream().await.unwrap();
    let waiting: Vec<_> = (0..3).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    old.sees_no_request().await;
    drop(old);
    let mut new = server.accept_http2().await;
    for _ in &waiting {
        new.answer_next().await;
    }
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    assert!(transport_error(sent.await.unwrap()).was_sent());
}

/// Over as many connections as this.
fn several(connections: usize) -> Hyper {
    hyper(|config| {
        config.version = HttpVersion::Http2;
        config.pool_max_http2_per_host = connections;
    })
}

#[tokio::test]
async fn where_several_connections_are_allowed_calls_beyond_the_streams_of_one_go_over_another() {
    let server = Server::start().await;
    let hyper = several(2);
    let mut first = settled(&server, &hyper, 2).await;
    let call = || spawned(&hyper, Method::POST, &server.url);
    let mut calls = vec![call(), call()];
    let on_first = [first.stream().await.unwrap(), first.stream().await.unwrap()];
    assert!(server.has_no_more().await, "as long as one is enough");
    calls.extend([call(), call()]);
    let mut second = server.accept_http2_with(&[(MAX_CONCURRENT_STREAMS, 2)]).await;
    let on_second = [second.stream().await.unwrap(), second.stream().await.unwrap()];
    // From here on it knows how many this one takes.
    second.sees_no_request().await;
    calls.extend([call(), call()]);
    first.sees_no_request().await;
    second.sees_no_request().await;
    assert!(server.has_no_more().await, "no more than two");
    // Whose turn it is gets the stream that ends first, on whichever connection.
    second.answer_on(on_second[0]).await;
    let next_on_second = second.stream().await.unwrap();
    first.answer_on(on_first[1]).await;
    let next_on_first = first.stream().await.unwrap();
    for stream in [on_first[0], next_on_first] {
        first.answer_on(stream).await;
    }
    for stream in [on_second[1], next_on_second] {
        second.answer_on(stream).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let after = call();
    first.answer_next().await;
    after.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_goodbye_on_one_of_several_connections_leaves_the_others_as_they_are() {
    let server = Server::start().await;
    let hyper = several(2);
    let mut first = settled(&server, &hyper, 1).await;
    let call = || spawned(&hyper, Method::POST, &server.url);
    let mut calls = vec![call()];
    let on_first = first.stream().await.unwrap();
    calls.push(call());
    let mut second = server.accept_http2_with(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    let on_second = second.stream().await.unwrap();
    second.sees_no_request().await;
    calls.push(call());
    first.go_away(on_first, NO_ERROR).await;
    // In the place of the one that takes no more.
    let mut third = server.accept_http2_with(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    third.answer_next().await;
    second.answer_on(on_second).await;
    first.answer_on(on_first).await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let after = call();
    second.answer_next().await;
    after.await.unwrap().unwrap();
    assert!(server.has_no_more().await);
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_gets_as_many_connections_as_it_needs_before_anything_is_answered() {
    let server = Server::start().await;
    let hyper = several(3);
    let calls: Vec<_> = (0..150).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let mut peers = [server.accept_http2_silently().await, server.accept_http2_silently().await];
    assert!(server.has_no_more().await, "as long as the second may take them all");
    peers[1].settings(&[(MAX_CONCURRENT_STREAMS, 100)]).await;
    for (peer, streams) in peers.iter_mut().zip([100, 50]) {
        for _ in 0..streams {
            peer.stream().await.unwrap();
        }
    }
    assert!(server.has_no_more().await);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_further_connection_takes_one_call_until_its_peer_has_said_how_many() {
    let server = Server::start().await;
    let hyper = several(2);
    let mut first = settled(&server, &hyper, 1).await;
    let calls: Vec<_> = (0..4).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let on_first = first.stream().await.unwrap();
    let mut second = server.accept_http2_silently().await;
    let mut streams = vec![second.next_unacknowledged(HEADERS).await.unwrap().stream];
    let early = tokio::time::timeout(Duration::from_millis(20), second.next_unacknowledged(HEADERS)).await;
    assert!(early.is_err(), "what it would refuse can wait where it is");
    second.settings(&[(MAX_CONCURRENT_STREAMS, 2)]).await;
    streams.push(second.stream().await.unwrap());
    second.sees_no_request().await;
    for stream in streams {
        second.answer_on(stream).await;
    }
    second.answer_next().await;
    first.answer_on(on_first).await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_further_connection_that_says_goodbye_at_once_costs_no_call_and_is_not_made_again_and_again() {
    let server = Server::start().await;
    let hyper = several(2);
    let mut first = settled(&server, &hyper, 1).await;
    let calls: Vec<_> = (0..3).map(|_| spawned(&hyper, Method::POST, &server.url)).collect();
    let on_first = first.stream().await.unwrap();
    let mut ended: Option<Instant> = None;
    for _ in 0..2 {
        let mut second = server.accept_http2().await;
        if let Some(ended) = ended.replace(Instant::now()) {
            assert!(ended.elapsed() >= Duration::from_secs(1), "after {:?}", ended.elapsed());
        }
        second.go_away(0, NO_ERROR).await;
        while second.next(HEADERS).await.is_some() {}
    }
    first.answer_on(on_first).await;
    for _ in 1..calls.len() {
        first.answer_next().await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_goodbye_on_all_of_several_connections_costs_no_call() {
    let server = Server::start().await;
    let hyper = several(3);
    let mut peers = vec![settled(&server, &hyper, 2).await];
    let (mut calls, mut streams) = (Vec::new(), Vec::new());
    for number in 0..3 {
        calls.extend([0; 2].map(|_| spawned(&hyper, Method::POST, &server.url)));
        if number > 0 {
            peers.push(server.accept_http2_with(&[(MAX_CONCURRENT_STREAMS, 2)]).await);
        }
        let peer = peers.last_mut().unwrap();
        streams.push([peer.stream().await.unwrap(), peer.stream().await.unwrap()]);
        peer.sees_no_request().await;
    }
    // Each has room, and says that it takes no more.
    for (peer, [first, second]) in peers.iter_mut().zip(&streams) {
        peer.answer_on(*first).await;
        peer.go_away(*second, NO_ERROR).await;
        peer.sees_no_request().await;
    }
    let after = spawned(&hyper, Method::POST, &server.url);
    server.accept_http2().await.answer_next().await;
    after.await.unwrap().unwrap();
    for (peer, [_, second]) in peers.iter_mut().zip(&streams) {
        peer.answer_on(*second).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn those_who_wait_for_a_stream_get_it_also_when_no_further_connection_is_to_be_had() {
    let server = Server::start().await;
    let hyper = several(2);
    let mut peer = settled(&server, &hyper, 1).await;
    let url = server.url.clone();
    drop(server);
    let calls: Vec<_> = (0..3).map(|_| spawned(&hyper, Method::POST, &url)).collect();
    for _ in &calls {
        peer.answer_next().await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_wait_for_a_stream_has_an_end_and_says_so() {
    let server = Server::start().await;
    let hyper = hyper(|config| {
        config.version = HttpVersion::Http2;
        config.pool_max_wait = Duration::from_millis(30);
    });
    let mut peer = settled(&server, &hyper, 1).await;
    let first = spawned(&hyper, Method::POST, &server.url);
    let stream = peer.stream().await.unwrap();
    let error = transport_error(spawned(&hyper, Method::POST, &server.url).await.unwrap());
    assert!(matches!(error, TransportError::Busy(_)) && !error.was_sent(), "{error:?}");
    assert!(says(&error, "streams"), "{error:?}");
    peer.answer_on(stream).await;
    first.await.unwrap().unwrap();
}
