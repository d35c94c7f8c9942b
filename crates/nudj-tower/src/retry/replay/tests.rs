use std::{collections::VecDeque, convert::Infallible, future::poll_fn};

use http_body_util::{BodyExt, Full};
use proptest::prelude::*;

use super::*;

/// A body that gives its frames one by one, pending before each, and does not know its length.
struct Chunks(VecDeque<Frame<Bytes>>, bool);

fn chunks(parts: &[&'static str]) -> Chunks {
    Chunks(parts.iter().map(|part| Frame::data(Bytes::from_static(part.as_bytes()))).collect(), false)
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

async fn text<B: Body<Error: Into<BoxError>>>(body: ReplayBody<B>) -> Result<String, BoxError> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap())
}

async fn frame<B: Body<Error: Into<BoxError>>>(body: &mut ReplayBody<B>) -> Option<Result<Frame<Bytes>, BoxError>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

#[tokio::test]
async fn every_clone_sends_the_whole_body() {
    let first = ReplayBody::new(chunks(&["ab", "", "cd"]), 4);
    let second = first.another();
    assert_eq!(text(first).await.unwrap(), "abcd");
    assert!(second.is_intact());
    let third = second.another();
    assert_eq!(text(second).await.unwrap(), "abcd");
    assert_eq!(third.size_hint().exact(), Some(4));
    assert_eq!(text(third).await.unwrap(), "abcd");
}

#[tokio::test]
async fn a_clone_takes_over_in_the_middle() {
    let mut first = ReplayBody::new(chunks(&["ab", "cd", "ef"]), 64);
    let second = first.another();
    assert_eq!(frame(&mut first).await.unwrap().unwrap().into_data().unwrap(), "ab");
    assert_eq!(text(second).await.unwrap(), "abcdef");
    assert!(frame(&mut first).await.unwrap().is_err(), "the older one does not end as if it were complete");
}

#[tokio::test]
async fn over_the_cap_it_is_sent_once_and_in_full() {
    let first = ReplayBody::new(chunks(&["abc", "def", "ghi"]), 5);
    let second = first.another();
    assert_eq!(text(first).await.unwrap(), "abcdefghi");
    assert!(!second.is_intact() && !second.is_end_stream());
    assert!(text(second).await.is_err(), "an error, never an empty or shortened body");
}

#[tokio::test]
async fn what_cannot_be_sent_again_leaves_the_reader_that_sends_it_alone() {
    let mut first = ReplayBody::new(chunks(&["abc", "def", "ghi"]), 5);
    let second = first.another();
    for _ in 0..2 {
        frame(&mut first).await.unwrap().unwrap();
    }
    assert!(!second.claim());
    assert_eq!(frame(&mut first).await.unwrap().unwrap().into_data().unwrap(), "ghi");
}

#[tokio::test]
async fn over_the_cap_but_untouched_it_can_still_be_sent() {
    let first = ReplayBody::new(Full::new(Bytes::from("abcdef")), 5);
    let second = first.another();
    drop(first);
    assert!(second.is_intact(), "nothing was read: a connect failure loses nothing");
    assert_eq!(second.size_hint().exact(), Some(6));
    let third = second.another();
    assert_eq!(text(second).await.unwrap(), "abcdef");
    assert!(!third.is_intact());
}

#[tokio::test]
async fn a_body_known_to_be_too_long_is_not_copied() {
    let mut first = ReplayBody::new(Full::new(Bytes::from("abcdef")), 5);
    frame(&mut first).await;
    assert_eq!(first.tape.lock().kept.capacity(), 0);
}

#[tokio::test]
async fn an_empty_body_stays_empty_and_known_to_be() {
    let body = ReplayBody::new(Full::new(Bytes::new()), 5);
    assert!(body.is_end_stream() && body.is_intact());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(text(body.another()).await.unwrap(), "");
}

#[tokio::test]
async fn trailers_are_sent_again() {
    let mut source = chunks(&["ab"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    source.0.push_back(Frame::trailers(trailers.clone()));
    let first = ReplayBody::new(source, 64);
    let second = first.another();
    for body in [first, second] {
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "ab");
    }
}

#[tokio::test]
async fn a_source_that_failed_is_not_sent_again() {
    let source = http_body_util::StreamBody::new(futures_util::stream::iter([
        Ok(Frame::data(Bytes::from("ab"))),
        Err(std::io::Error::other("disk")),
    ]));
    let first = ReplayBody::new(source, 64);
    let second = first.another();
    assert_eq!(text(first).await.unwrap_err().to_string(), "disk");
    assert!(!second.is_intact());
    assert!(text(second).await.is_err());
}

#[tokio::test]
async fn the_reader_that_waits_is_woken_when_another_takes_over() {
    let pending = http_body_util::StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let mut first = ReplayBody::new(pending, 64);
    let second = first.another();
    let mut waiting = tokio_test::task::spawn(poll_fn(|cx| Pin::new(&mut first).poll_frame(cx)));
    assert!(waiting.poll().is_pending());
    assert!(second.claim());
    assert!(waiting.is_woken());
    assert!(matches!(waiting.poll(), Poll::Ready(Some(Err(_)))));
}

proptest! {
    #[test]
    fn a_clone_sends_everything_or_fails(
        parts in proptest::collection::vec("[a-z]{0,6}", 0..8), cap in 0usize..40, read_before in 0usize..8,
    ) {
        let whole = parts.concat();
        let frames = parts.into_iter().map(|part| Frame::data(Bytes::from(part))).collect();
        let mut first = ReplayBody::new(Chunks(frames, false), cap);
        let second = first.another();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..read_before {
                if frame(&mut first).await.is_none() {
                    break;
                }
            }
            let intact = second.claim();
            let sent = text(second).await;
            prop_assert_eq!(sent.is_ok(), intact);
            if let Ok(sent) = sent {
                prop_assert_eq!(sent, whole);
            } else {
                prop_assert!(whole.len() > cap);
            }
            Ok(())
        })?;
    }
}
