//! Inflating an answer's body.

use std::{
    future::poll_fn,
    io::{self, Write},
    pin::pin,
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
    response::Parts,
};
use http_body::Body;
use http_body_util::Full;
use nudj_tower::{BoxError, classify::TransportError};

use super::reading::Reading;

/// How much longer than what it holds something may be: heads with names and comments, and ends.
const FRAMING: u64 = 1 << 16;

/// The whole answer, of at most `limit` bytes. What is encoded in the way that was asked for is inflated, all members of it (RFC 1952, section 2.2),
/// and what comes behind them is an error; anything else is left to the caller as it came, and so is a part, which is one of the encoded whole: RFC
/// 9110, section 14.2.
pub(super) async fn inflate<B>(mut head: Parts, body: B, limit: usize) -> Result<Response<Full<Bytes>>, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    if head.status == StatusCode::PARTIAL_CONTENT || !is_gzip(&head.headers) {
        return Ok(Response::from_parts(head, Full::new(Reading::announced(body, limit)?.await?)));
    }
    let whole = inflated(body, limit).await?;
    if whole.is_some() {
        head.headers.remove(CONTENT_ENCODING);
        head.headers.remove(CONTENT_LENGTH);
    }
    Ok(Response::from_parts(head, Full::new(whole.unwrap_or_default())))
}

/// One coding, by either of its names: RFC 9110, section 8.4.1.3.
fn is_gzip(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).into_iter();
    let (Some(coding), None) = (codings.next(), codings.next()) else { return false };
    [&b"gzip"[..], b"x-gzip"].iter().any(|name| coding.as_bytes().eq_ignore_ascii_case(name))
}

/// `None` where nothing came: an answer to a HEAD has a coding and no body.
async fn inflated<B>(body: B, limit: usize) -> Result<Option<Bytes>, TransportError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    // Stored as it is, in blocks of 64 kB, it is hardly longer. What goes on without saying anything is nothing to wait for.
    let most = (limit as u64).saturating_add(limit as u64 / 1000).saturating_add(FRAMING);
    let mut come = 0_u64;
    if body.size_hint().lower() > most {
        return Err(TransportError::BodyTooLarge { limit });
    }
    let mut body = pin!(body);
    let mut decoder = MultiGzDecoder::new(Inflated { bytes: Vec::new(), limit, is_too_large: false });
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(|error| TransportError::Exchange(error.into()))?.into_data() else { continue };
        come = come.saturating_add(data.len() as u64);
        if come > most {
            return Err(TransportError::BodyTooLarge { limit });
        }
        if let Err(error) = decoder.write_all(&data) {
            return Err(broken(decoder.get_ref(), error));
        }
        if body.is_end_stream() {
            break;
        }
    }
    if come == 0 {
        return Ok(None);
    }
    if let Err(error) = decoder.try_finish() {
        return Err(broken(decoder.get_ref(), error));
    }
    Ok(Some(std::mem::take(&mut decoder.get_mut().bytes).into()))
}

fn broken(inflated: &Inflated, error: io::Error) -> TransportError {
    if inflated.is_too_large {
        return TransportError::BodyTooLarge { limit: inflated.limit };
    }
    TransportError::Exchange(error.into())
}

/// What came out so far.
struct Inflated {
    bytes: Vec<u8>,
    limit: usize,
    is_too_large: bool,
}

impl Write for Inflated {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if more.len() > self.limit - self.bytes.len() {
            self.is_too_large = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use futures_util::{FutureExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn zipped(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("a list takes all");
        encoder.finish().expect("a list takes all")
    }

    fn answer(status: StatusCode, coding: &str, pieces: &[&[u8]]) -> Result<Response<Bytes>, TransportError> {
        let frames: Vec<_> =
            pieces.iter().map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let head = Response::builder().status(status).header(CONTENT_ENCODING, coding).header(CONTENT_LENGTH, 17);
        let (head, ()) = head.body(()).expect("a good head").into_parts();
        let inflated =
            inflate(head, StreamBody::new(stream::iter(frames)), 100).now_or_never().expect("nothing to wait for");
        let whole = |body: Full<Bytes>| body.collect_now();
        inflated.map(|answer| answer.map(whole)).map_err(|error| *error.downcast().expect("the transport's"))
    }

    trait CollectNow {
        fn collect_now(self) -> Bytes;
    }

    impl CollectNow for Full<Bytes> {
        fn collect_now(self) -> Bytes {
            use http_body_util::BodyExt as _;
            self.collect().now_or_never().expect("in memory").expect("infallible").to_bytes()
        }
    }

    fn body_of(pieces: &[&[u8]]) -> Result<Bytes, TransportError> {
        answer(StatusCode::OK, "gzip", pieces).map(Response::into_body)
    }

    #[test]
    fn all_members_are_inflated_however_they_are_cut() {
        let both = [zipped(b"[1,2"), zipped(b",3]")].concat();
        assert_eq!(body_of(&[&both]).expect("whole"), "[1,2,3]");
        for cut in 0..=both.len() {
            let (one, other) = both.split_at(cut);
            assert_eq!(body_of(&[one, other]).expect("whole"), "[1,2,3]", "cut at {cut}");
        }
    }

    #[test]
    fn what_is_cut_short_or_has_something_behind_it_is_broken() {
        let whole = zipped(b"[1,2]");
        for end in 1..whole.len() {
            let cut = body_of(&[&whole[..end]]);
            assert!(matches!(cut, Err(TransportError::Exchange(_))), "{end} of {}: {cut:?}", whole.len());
        }
        for behind in [&b"garbage"[..], b"\0", &whole[..4]] {
            let together = body_of(&[&[&whole, behind].concat()]);
            assert!(matches!(together, Err(TransportError::Exchange(_))), "{behind:?}: {together:?}");
            let apart = body_of(&[&whole, behind]);
            assert!(matches!(apart, Err(TransportError::Exchange(_))), "{behind:?}: {apart:?}");
        }
    }

    #[test]
    fn the_last_byte_of_the_limit_is_inflated_and_the_next_refused() {
        assert_eq!(body_of(&[&zipped(&[b'a'; 60]), &zipped(&[b'a'; 40])]).expect("short enough").len(), 100);
        let refused = body_of(&[&zipped(&[b'a'; 60]), &zipped(&[b'a'; 41])]);
        assert!(matches!(refused, Err(TransportError::BodyTooLarge { limit: 100 })), "{refused:?}");
    }

    #[test]
    fn members_without_end_that_hold_nothing_are_refused() {
        let nothing = zipped(b"");
        let many = nothing.repeat(FRAMING as usize / nothing.len());
        assert_eq!(body_of(&[&many]).expect("short enough"), "");
        let refused = body_of(&[&many, &many]);
        assert!(matches!(refused, Err(TransportError::BodyTooLarge { limit: 100 })), "{refused:?}");
    }

    #[test]
    fn its_names_are_read_in_any_case_and_its_head_tells_of_what_is_handed_on() {
        for coding in ["gzip", "GZIP", "x-gzip", "X-Gzip"] {
            let inflated = answer(StatusCode::OK, coding, &[&zipped(b"plain")]).expect("whole");
            assert_eq!(inflated.body(), "plain", "{coding}");
            assert!(inflated.headers().is_empty(), "{coding}: {inflated:?}");
        }
    }

    #[test]
    fn what_was_not_asked_for_a_part_and_no_body_at_all_are_left_as_they_came() {
        let part = &zipped(b"plain")[3..9];
        for (status, coding, sent) in
            [(StatusCode::PARTIAL_CONTENT, "gzip", part), (StatusCode::OK, "br", part), (StatusCode::OK, "gzip", b"")]
        {
            let left = answer(status, coding, &[sent]).expect("not touched");
            assert_eq!(left.body(), sent, "{status} {coding}");
            assert_eq!(left.headers().len(), 2, "{status} {coding}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_zipped_comes_out(plain in proptest::collection::vec(any::<u8>(), 0..100), cut in any::<prop::sample::Index>()) {
            let sent = zipped(&plain);
            let (one, other) = sent.split_at(cut.index(sent.len()));
            prop_assert_eq!(&body_of(&[one, other]).expect("short enough")[..], &plain[..]);
        }
    }
}
