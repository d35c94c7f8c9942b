//! What goes over an HTTP/2 stream: bodies either way, and how they end.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use nudj_client::config::{HttpVersion, Transport};
use nudj_tower::classify::TransportError;
use tower::ServiceExt;

use super::{
    Answered, Peer, Server,
    frames::{
        ACK, CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, OK, PING, RST_STREAM, WINDOW_UPDATE, http2,
        settled,
    },
    hyper, says, spawned, transport_error,
};

/// Beyond what a peer takes before it says more: 65,535 bytes.
const LONG: usize = 200_000;

/// What a client makes of the frames that `answer` writes on the stream of its one request.
async fn answered(answer: impl AsyncFnOnce(&mut Peer, u32)) -> Answered {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    let stream = peer.stream().await.unwrap();
    answer(&mut peer, stream).await;
    call.await.unwrap()
}

#[tokio::test]
async fn a_long_request_is_sent_as_the_peer_makes_room_and_is_whole() {
    let server = Server::start().await;
    let hyper = http2();
    let body: Bytes = (0..LONG).map(|place| place.to_le_bytes()[place % 3]).collect();
    let request = Request::put(&server.url).body(Full::new(body.clone())).unwrap();
    let call = tokio::spawn(hyper.oneshot(request));
    let mut peer = server.accept_http2().await;
    let (mut arrived, mut has_ended) = (Vec::new(), false);
    while !has_ended {
        let frame = peer.next(DATA).await.unwrap();
        has_ended = frame.flags & END_STREAM != 0;
        if arrived.len() < 65_535 && arrived.len() + frame.payload.len() == 65_535 {
            peer.sees_no_request().await;
        }
        arrived.extend(&frame.payload);
        let room = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
        if !has_ended && !frame.payload.is_empty() {
            peer.frame(WINDOW_UPDATE, 0, 0, &room).await;
            peer.frame(WINDOW_UPDATE, 0, frame.stream, &room).await;
        }
    }
    assert!(arrived == body, "{} bytes came of {LONG}", arrived.len());
    peer.answer_on(1).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_length_is_sent_with_a_body_and_where_the_method_foresees_one() {
    for (method, body, sent) in [
        (Method::GET, "", None),
        (Method::DELETE, "", None),
        (Method::POST, "", Some("0")),
        (Method::GET, "four", Some("4")),
    ] {
        let server = Server::start().await;
        let request = Request::builder().method(method.clone()).uri(&server.url).body(Full::from(body)).unwrap();
        let call = tokio::spawn(http2().oneshot(request));
        let mut peer = h2::server::handshake(server.accept().await.0).await.unwrap();
        let (request, mut answer) = peer.accept().await.unwrap().unwrap();
        let length = request.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(length, sent, "{method}");
        assert_eq!(request.body().is_end_stream(), body.is_empty());
        answer.send_response(Response::new(()), true).unwrap();
        tokio::spawn(async move { while peer.accept().await.is_some() {} });
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_long_answer_makes_room_for_itself_and_is_whole() {
    const PIECE: usize = 16_000;
    let piece = |number: usize| [number.to_le_bytes()[0]; PIECE];
    let answer = answered(async |peer, stream| {
        peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
        // As much as the client has room for at first: two megabytes.
        for number in 0..130 {
            peer.frame(DATA, 0, stream, &piece(number)).await;
        }
        let mut room = 0;
        while room < 60 * PIECE {
            let more = peer.next(WINDOW_UPDATE).await.expect("what was read makes room");
            let by = u32::from_be_bytes(more.payload.try_into().unwrap()) as usize;
            room += if more.stream == stream { by } else { 0 };
        }
        for number in 130..190 {
            peer.frame(DATA, if number == 189 { END_STREAM } else { 0 }, stream, &piece(number)).await;
        }
    });
    let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(body.iter().copied().eq((0..190).flat_map(piece)), "{} bytes", body.len());
}

#[tokio::test]
async fn an_answer_that_was_read_or_dropped_gives_its_room_on_the_connection_back() {
    let server = Server::start().await;
    let hyper = http2();
    let listener = server.accept();
    let first = spawned(&hyper, Method::GET, &server.url);
    let socket = listener.await.0;
    socket.set_nodelay(true).unwrap();
    let mut peer = h2::server::handshake(socket).await.unwrap();
    tokio::spawn(async move {
        while let Some(Ok((_, mut answer))) = peer.accept().await {
            // Of a call that was dropped the stream may be reset already.
            let Ok(mut body) = answer.send_response(Response::new(()), false) else { continue };
            drop(body.send_data(Bytes::from_static(&[b'x'; 60_000]), true));
        }
    });
    first.await.unwrap().unwrap();
    // Together more than twice what the peer may send on all streams before it is read.
    for call in 0..200 {
        let mut answer = std::pin::pin!(super::call(&hyper, Method::GET, &server.url));
        if call % 2 == 0 {
            let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), 60_000);
        } else {
            assert!(answer.as_mut().now_or_never().is_none());
        }
    }
}

#[tokio::test]
async fn an_answer_whose_stream_is_reset_before_its_end_is_none_whatever_the_reason() {
    for reason in [NO_ERROR, CANCEL] {
        let answer = answered(async |peer, stream| {
            peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
            peer.frame(DATA, 0, stream, b"half of").await;
            peer.reset(stream, reason).await;
        });
        let error = transport_error(answer.await);
        assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{error:?}");
    }
}

#[tokio::test]
async fn over_the_legacy_transport_half_an_answer_is_none_either_and_a_whole_one_is() {
    for (first, flags, whole) in [(&b"half of"[..], 0, false), (b"enough", END_STREAM, true)] {
        let server = Server::start().await;
        let hyper = hyper(|config| (config.version, config.transport) = (HttpVersion::Http2, Transport::Legacy));
        let call = spawned(&hyper, Method::POST, &server.url);
        let mut peer = server.accept_http2().await;
        let stream = peer.stream().await.unwrap();
        peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
        peer.frame(DATA, flags, stream, first).await;
        peer.reset(stream, NO_ERROR).await;
        let answer = call.await.unwrap();
        if whole {
            assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), first);
        } else {
            let error = transport_error(answer);
            assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_came_whole_counts_also_when_the_peer_then_wants_no_more_of_the_request() {
    let server = Server::start().await;
    let hyper = http2();
    let request = Request::post(&server.url).body(Full::new(Bytes::from(vec![b'x'; LONG]))).unwrap();
    let call = tokio::spawn(hyper.clone().oneshot(request));
    let mut peer = server.accept_http2().await;
    let stream = peer.stream().await.unwrap();
    peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
    peer.frame(DATA, END_STREAM, stream, b"enough").await;
    peer.reset(stream, NO_ERROR).await;
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "enough");
    // What was left of the request takes no room from the next.
    let next = spawned(&hyper, Method::GET, &server.url);
    peer.answer_next().await;
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_request_is_not_sent_once_its_answer_has_come() {
    let server = Server::start().await;
    let hyper = http2();
    let mut peer = settled(&server, &hyper, 1).await;
    let request = Request::post(&server.url).body(Full::new(Bytes::from(vec![b'x'; LONG]))).unwrap();
    let call = tokio::spawn(hyper.clone().oneshot(request));
    let stream = peer.stream().await.unwrap();
    // And makes no room for the rest.
    peer.answer_on(stream).await;
    call.await.unwrap().unwrap();
    let next = spawned(&hyper, Method::GET, &server.url);
    let reset = peer.next(RST_STREAM).await.unwrap();
    assert_eq!((reset.stream, reset.payload), (stream, CANCEL.to_be_bytes().to_vec()));
    peer.answer_next().await;
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn trailers_end_an_answer() {
    let answer = answered(async |peer, stream| {
        peer.frame(HEADERS, END_HEADERS, stream, &[OK]).await;
        peer.frame(DATA, 0, stream, b"body").await;
        // `a: b`, a literal that no table keeps.
        peer.frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x00\x01a\x01b").await;
    });
    let body = answer.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "body");
}

#[tokio::test]
async fn an_answer_that_is_not_as_long_as_it_says_is_none() {
    for (body, flags) in [("too long", 0), ("x", END_STREAM)] {
        let answer = answered(async |peer, stream| {
            // `content-length: 4`, by entry 28 of the static table.
            peer.frame(HEADERS, END_HEADERS, stream, b"\x88\x0f\x0d\x014").await;
            peer.frame(DATA, flags, stream, body.as_bytes()).await;
        });
        let error = transport_error(answer.await);
        assert!(matches!(error, TransportError::Exchange(_)), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_may_announce_more_than_an_answer_may_be() {
    for transport in [Transport::Pool, Transport::Legacy] {
        let server = Server::start().await;
        let hyper = hyper(|config| {
            config.transport = transport;
            config.version = HttpVersion::Http2;
            config.max_response_bytes = 3;
        });
        let call = spawned(&hyper, Method::HEAD, &server.url);
        let mut peer = server.accept_http2().await;
        let stream = peer.stream().await.unwrap();
        peer.frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x88\x0f\x0d\x014").await;
        call.await.unwrap().unwrap();
        let call = spawned(&hyper, Method::HEAD, &server.url);
        let stream = peer.stream().await.unwrap();
        peer.frame(HEADERS, END_HEADERS, stream, b"\x88\x0f\x0d\x014").await;
        peer.frame(DATA, END_STREAM, stream, &[]).await;
        call.await.unwrap().unwrap();
        // Of another that says so nothing need be read, and the rest of it is not wanted.
        let call = spawned(&hyper, Method::GET, &server.url);
        let stream = peer.stream().await.unwrap();
        peer.frame(HEADERS, END_HEADERS, stream, b"\x88\x0f\x0d\x014").await;
        let error = transport_error(call.await.unwrap());
        assert!(matches!(error, TransportError::BodyTooLarge { limit: 3 }), "{error:?}");
        assert_eq!(peer.next(RST_STREAM).await.unwrap().payload, CANCEL.to_be_bytes());
    }
}

#[tokio::test]
async fn a_peer_that_gives_no_sign_of_life_loses_its_calls_and_the_next_go_elsewhere() {
    let server = Server::start().await;
    let hyper = http2();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2().await;
    peer.stream().await.unwrap();
    tokio::time::pause();
    let asked = peer.next(PING).await.unwrap();
    assert_eq!(asked.flags & ACK, 0);
    let error = transport_error(call.await.unwrap());
    assert!(matches!(error, TransportError::Exchange(_)) && error.was_sent(), "{error:?}");
    assert!(says(&error, "no sign of life within 10s"), "{error:?}");
    tokio::time::resume();
    let call = spawned(&hyper, Method::POST, &server.url);
    let mut new = server.accept_http2().await;
    new.answer_next().await;
    call.await.unwrap().unwrap();
}
