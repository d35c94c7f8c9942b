//! Bodies in pieces, slow ones, endless ones.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use nudj_webhook::Receiver;

use crate::harness::{Clock, NUDJ_SECRET, START, USER_UPDATED, config, nudj, request, send, signed_head};

/// Gives one chunk per poll, after `pause`.
struct Drip<I> {
    chunks: I,
    pause: Duration,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<I> Drip<I> {
    fn new(chunks: I, pause: Duration) -> Self {
        Self { chunks, pause, timer: None }
    }
}

impl<I: Iterator<Item = Bytes> + Unpin> Body for Drip<I> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.pause.is_zero() {
            let pause = self.pause;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        Poll::Ready(self.chunks.next().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn receiver() -> Receiver {
    Receiver::builder().config(config()).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn body_split_anywhere_is_the_same_body() {
    let receiver = receiver();
    for at in 0..=USER_UPDATED.len() {
        let (first, second) = USER_UPDATED.split_at(at);
        let chunks = [first, second].map(Bytes::copy_from_slice).into_iter();
        let head = signed_head(&nudj(), &format!("split-{at}"), START, USER_UPDATED);
        let request = request(head, Drip::new(chunks, Duration::ZERO));
        assert_eq!(send(&receiver.service(), request).await, StatusCode::OK, "{at}");
    }
    let bytes: Vec<Bytes> = USER_UPDATED.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
    let head = signed_head(&nudj(), "bytes", START, USER_UPDATED);
    let request = request(head, Drip::new(bytes.into_iter(), Duration::from_millis(1)));
    assert_eq!(send(&receiver.service(), request).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn dripping_body_is_given_up_at_the_read_timeout() {
    let receiver = receiver();
    let begun = tokio::time::Instant::now();
    let endless = std::iter::repeat_with(|| Bytes::from_static(b" "));
    let head = signed_head(&nudj(), "slow", START, b"");
    let request = request(head, Drip::new(endless, Duration::from_millis(200)));
    assert_eq!(send(&receiver.service(), request).await, StatusCode::REQUEST_TIMEOUT);
    let took = begun.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_050)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn endless_body_is_read_no_further_than_one_chunk_beyond_the_limit() {
    let receiver = receiver();
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&read);
    let endless = std::iter::repeat_with(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Bytes::from_static(&[b' '; 1024])
    });
    let head = signed_head(&nudj(), "huge", START, b"");
    let request = request(head, Drip::new(endless, Duration::ZERO));
    assert_eq!(send(&receiver.service(), request).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn body_is_not_read_for_a_stranger_or_beyond_its_declared_length() {
    let receiver = receiver();
    let untouched = || {
        let panics = std::iter::repeat_with(|| -> Bytes { panic!("the body was read") });
        Drip::new(panics, Duration::ZERO)
    };
    let stranger = request(http::HeaderMap::new(), untouched());
    assert_eq!(send(&receiver.service(), stranger).await, StatusCode::UNAUTHORIZED);
    let mut head = signed_head(&nudj(), "huge", START, b"");
    head.insert("content-length", 1_073_741_824_u64.into());
    assert_eq!(send(&receiver.service(), request(head, untouched())).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn body_of_exactly_the_limit_is_taken() {
    let receiver = receiver();
    let mut body = USER_UPDATED.to_vec();
    body.resize(4096, b' ');
    assert_eq!(send(&receiver.service(), crate::harness::delivery("d1", &body)).await, StatusCode::OK);
    body.push(b' ');
    assert_eq!(send(&receiver.service(), crate::harness::delivery("d2", &body)).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_those_worked_on_are_told_to_come_again() {
    let mut config = config();
    config.max_in_flight = 2;
    let receiver = Receiver::builder().config(config).secret(NUDJ_SECRET).clock(Clock::start()).build().unwrap();
    let stuck = || {
        let head = signed_head(&nudj(), "stuck", START, b"");
        let endless = std::iter::repeat_with(|| Bytes::from_static(b" "));
        tokio::spawn({
            let service = receiver.service();
            async move { send(&service, request(head, Drip::new(endless, Duration::from_secs(1)))).await }
        })
    };
    let (first, second) = (stuck(), stuck());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let good = || crate::harness::delivery("d1", USER_UPDATED);
    assert_eq!(send(&receiver.service(), good()).await, StatusCode::SERVICE_UNAVAILABLE);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(send(&receiver.service(), good()).await, StatusCode::OK, "a dropped request gives its place back");
    assert_eq!(second.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigabyte_in_chunks_is_refused_early_and_memory_stays_flat() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = crate::child::Settings { effects: folder.path().join("effects"), ..Default::default() };
    // Small against what is allowed to be seen, so that the allocator's habits do not matter.
    settings.config.max_body_bytes = 128 << 10;
    let process = crate::child::Process::start(&settings);
    let head = signed_head(&nudj(), "warm", START, USER_UPDATED);
    assert_eq!(crate::wire::post(process.address, &head, USER_UPDATED).await, Some(200));
    let limit = settings.config.max_body_bytes as u64;
    let before = process.peak_memory_kib();
    for _ in 0..5 {
        let head = signed_head(&nudj(), "huge", START, b"");
        let (status, written) = crate::wire::post_chunked(process.address, &head, 1 << 30).await;
        assert!(matches!(status, Some(413) | None), "{status:?}");
        // What lies in the sockets' buffers was written too.
        assert!(written < limit + (16 << 20), "{written} bytes were sent before the refusal");
    }
    let grown = process.peak_memory_kib() - before;
    assert!(grown <= 2048, "{grown} KiB");
}
