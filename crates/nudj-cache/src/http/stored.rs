//! A stored answer, and its form in bytes.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::policy::Freshness;
use crate::envelope::millis;

/// Version of the bytes below. A new one makes stored answers misses.
pub(super) const SCHEMA: u32 = 1;

/// What lies under an HTTP key.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "always behind an Arc, and nearly always an answer")]
pub(super) enum Cached {
    Answer(Answer),
    /// The answers differ by these request headers; each lies under a key of its own.
    Variants(Variants),
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// With an Age, to be replaced: a cloned map has no room for a further header.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) freshness: Freshness,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variants {
    /// Part of the variants' keys. New with each list, so that deleting the list leaves none of them to be found.
    pub(super) generation: u64,
    pub(super) names: Arc<[HeaderName]>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, mut headers: HeaderMap, body: Bytes, freshness: Freshness) -> Self {
        headers.insert(header::AGE, HeaderValue::from(freshness.initial_age.as_secs()));
        Self { status, headers, body, freshness }
    }

    /// The answer as it is given to a caller, without a body. `age` is the time since it was asked for.
    pub(super) fn head(&self, age: Duration) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers.clone();
        let initial = self.freshness.initial_age;
        let age = initial.saturating_add(age).as_secs();
        // Within its first second the stored one is right.
        if age != initial.as_secs() {
            answer.headers_mut().insert(header::AGE, HeaderValue::from(age));
        }
        answer
    }
}

/// Memory of decoded headers: a slot of the map and its index, with the share that is empty.
const HEADER: usize = 180;
const DECODED: usize = 320;

const ANSWER: u8 = 0;
const VARIANTS: u8 = 1;
const MUST_REVALIDATE: u8 = 1;
const GIVEN: u8 = 2;

impl Cached {
    /// Memory this takes beside the bytes it is read from.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Answer(answer) => DECODED.saturating_add(answer.headers.len().saturating_mul(HEADER)),
            Self::Variants(variants) => DECODED.saturating_add(variants.names.len().saturating_mul(64)),
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Variants(variants) => {
                let mut out = BytesMut::with_capacity(9 + variants.names.len() * 24);
                out.put_u8(VARIANTS);
                out.put_u64(variants.generation);
                for name in &*variants.names {
                    put(&mut out, name.as_str().as_bytes());
                }
                out.freeze()
            }
            Self::Answer(Answer { status, headers, body, freshness }) => {
                let head: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 8).sum();
                let mut out = BytesMut::with_capacity(64 + head + body.len());
                out.put_u8(ANSWER);
                out.put_u16(status.as_u16());
                for duration in [
                    freshness.lifetime,
                    freshness.initial_age,
                    freshness.stale_while_revalidate,
                    freshness.stale_if_error,
                    freshness.keep,
                ] {
                    out.put_u64(millis(duration));
                }
                let mut flags = 0;
                if freshness.must_revalidate {
                    flags |= MUST_REVALIDATE;
                }
                if freshness.given.is_some() {
                    flags |= GIVEN;
                }
                out.put_u8(flags);
                out.put_u64(freshness.given.unwrap_or(0));
                out.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
                for (name, value) in headers {
                    put(&mut out, name.as_str().as_bytes());
                    put(&mut out, value.as_bytes());
                }
                out.put_slice(body);
                out.freeze()
            }
        }
    }

    /// The body and the header values are slices of `bytes`, not copies.
    pub(super) fn from_bytes(bytes: &Bytes) -> Option<Self> {
        let mut rest = bytes.clone();
        match rest.try_get_u8().ok()? {
            VARIANTS => {
                let generation = rest.try_get_u64().ok()?;
                let mut names = Vec::new();
                while !rest.is_empty() {
                    names.push(HeaderName::from_bytes(&take(&mut rest)?).ok()?);
                }
                Some(Self::Variants(Variants { generation, names: names.into() }))
            }
            ANSWER => {
                let status = StatusCode::from_u16(rest.try_get_u16().ok()?).ok()?;
                let mut duration = || Some(Duration::from_millis(rest.try_get_u64().ok()?));
                let (lifetime, initial_age) = (duration()?, duration()?);
                let (stale_while_revalidate, stale_if_error) = (duration()?, duration()?);
                let keep = duration()?;
                let flags = rest.try_get_u8().ok()?;
                let given = rest.try_get_u64().ok()?;
                let count = usize::try_from(rest.try_get_u32().ok()?).ok()?;
                // Each header takes 8 bytes at least: a forged count cannot make this reserve more than is there.
                if count > rest.len() / 8 {
                    return None;
                }
                let mut headers = HeaderMap::try_with_capacity(count).ok()?;
                for _ in 0..count {
                    let name = HeaderName::from_bytes(&take(&mut rest)?).ok()?;
                    let value = HeaderValue::from_maybe_shared(take(&mut rest)?).ok()?;
                    headers.try_append(name, value).ok()?;
                }
                let freshness = Freshness {
                    lifetime,
                    initial_age,
                    stale_while_revalidate,
                    stale_if_error,
                    must_revalidate: flags & MUST_REVALIDATE != 0,
                    given: (flags & GIVEN != 0).then_some(given),
                    keep,
                };
                Some(Self::Answer(Answer { status, headers, body: rest, freshness }))
            }
            _ => None,
        }
    }
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn take(rest: &mut Bytes) -> Option<Bytes> {
    let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    (len <= rest.len()).then(|| rest.split_to(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn answer_comes_back_as_it_was(
            body: Vec<u8>,
            values in proptest::collection::vec(("[a-z]{1,9}", "[ -~]{0,30}"), 0..12),
            millis in 0u64..1_000_000_000,
            must_revalidate: bool,
            given: Option<u64>,
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(value).unwrap());
            }
            let [lifetime, stale_while_revalidate, stale_if_error, keep] =
                [1, 2, 3, 4].map(|factor| Duration::from_millis(millis * factor));
            let initial_age = Duration::from_secs(millis / 7);
            let freshness = Freshness {
                lifetime, initial_age, stale_while_revalidate, stale_if_error, must_revalidate, given, keep,
            };
            let answer = Answer::new(StatusCode::OK, headers, body.into(), freshness);
            let bytes = Cached::Answer(answer).to_bytes();
            let Some(Cached::Answer(read)) = Cached::from_bytes(&bytes) else { panic!("not readable") };
            let again = Cached::Answer(read).to_bytes();
            prop_assert_eq!(bytes, again);
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(mut bytes: Vec<u8>, kind in 0u8..3) {
            if let Some(first) = bytes.first_mut() { *first = kind; }
            let _ = Cached::from_bytes(&Bytes::from(bytes));
        }
    }

    #[test]
    fn list_of_variants_comes_back_as_it_was() {
        let variants = Variants { generation: 9, names: [header::ACCEPT, header::ACCEPT_LANGUAGE].into() };
        let bytes = Cached::Variants(variants.clone()).to_bytes();
        let Some(Cached::Variants(read)) = Cached::from_bytes(&bytes) else { panic!("not readable") };
        assert_eq!(read, variants);
    }
}
