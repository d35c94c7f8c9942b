//! HTTP/2 written out by hand: a peer that reads and writes frames. RFC 9113, section 6.

use http::Method;
use nudj_client::{config::HttpVersion, transport::Hyper};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Peer, Server, hyper, spawned};

const PREFACE: usize = 24;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;

pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;

/// `:status: 200`, entry 8 of HPACK's static table.
pub(super) const OK: u8 = 0x88;

pub(super) fn http2() -> Hyper {
    hyper(|config| config.version = HttpVersion::Http2)
}

/// A connection over which a call has gone, so that the client knows what the peer has said.
pub(super) async fn settled(server: &Server, hyper: &Hyper, at_once: u32) -> Peer {
    let call = spawned(hyper, Method::POST, &server.url);
    let mut peer = server.accept_http2_with(&[(MAX_CONCURRENT_STREAMS, at_once)]).await;
    peer.answer_next().await;
    call.await.unwrap().unwrap();
    peer
}

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Server {
    pub(super) async fn accept_http2(&self) -> Peer {
        self.accept_http2_with(&[]).await
    }

    /// As [`accept_http2`](Self::accept_http2), and says `settings`.
    pub(super) async fn accept_http2_with(&self, settings: &[(u16, u32)]) -> Peer {
        let mut peer = self.accept_http2_silently().await;
        peer.settings(settings).await;
        peer
    }

    /// Says nothing yet.
    pub(super) async fn accept_http2_silently(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.0.read_exact(&mut [0; PREFACE]).await.unwrap();
        peer
    }
}

impl Peer {
    pub(super) async fn settings(&mut self, settings: &[(u16, u32)]) {
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        self.frame(SETTINGS, 0, 0, &settings).await;
    }

    pub(super) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame; `None` when the client has closed. Settings are acknowledged.
    pub(super) async fn read(&mut self) -> Option<Frame> {
        let frame = self.read_unacknowledged().await?;
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            self.frame(SETTINGS, ACK, 0, &[]).await;
        }
        Some(frame)
    }

    async fn read_unacknowledged(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [zero, a, b, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, zero, a, b]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let [s0, s1, s2, s3, ..] = stream;
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload })
    }

    /// The next frame of that kind; others are skipped.
    pub(super) async fn next(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// As [`next`](Self::next), for a peer that says nothing yet.
    pub(super) async fn next_unacknowledged(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read_unacknowledged().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The stream of the next request; `None` when the client has closed.
    pub(super) async fn stream(&mut self) -> Option<u32> {
        Some(self.next(HEADERS).await?.stream)
    }

    /// The client has sent no request up to now: it answers a ping after what came before.
    pub(super) async fn sees_no_request(&mut self) {
        self.frame(PING, 0, 0, &[0; 8]).await;
        loop {
            let frame = self.read().await.expect("the client has not closed");
            assert_ne!(frame.kind, HEADERS, "a request on stream {}", frame.stream);
            if frame.kind == PING {
                return;
            }
        }
    }

    /// Answers the next request.
    pub(super) async fn answer_next(&mut self) {
        let stream = self.stream().await.unwrap();
        self.answer_on(stream).await;
    }

    pub(super) async fn answer_on(&mut self, stream: u32) {
        self.frame(HEADERS, END_HEADERS | END_STREAM, stream, &[OK]).await;
    }

    pub(super) async fn go_away(&mut self, last: u32, reason: u32) {
        self.frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat()).await;
    }

    pub(super) async fn reset(&mut self, stream: u32, reason: u32) {
        self.frame(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }
}
