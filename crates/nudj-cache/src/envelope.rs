//! The envelope around a payload in Redis and SQL.
//!
//! ```text
//! "nC"  format:u8  kind:u8  schema:u32  age_ms:u64  ttl_ms:u64  tags:u16 { len:u16 bytes }*  len:u32 payload
//! ```
//! Big endian. Anything else, shorter or longer, is unreadable, and unreadable is a miss.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::entry::Kind;

const MAGIC: &[u8; 2] = b"nC";
/// Version of this layout. A new one makes old entries misses.
const FORMAT: u8 = 1;
const FIXED: usize = 2 + 1 + 1 + 4 + 8 + 8 + 2;

pub(crate) struct Envelope<'a> {
    pub(crate) kind: Kind,
    pub(crate) schema: u32,
    pub(crate) age: Duration,
    pub(crate) ttl: Duration,
    pub(crate) tags: &'a [Box<str>],
    pub(crate) payload: &'a [u8],
}

pub(crate) struct Opened {
    pub(crate) kind: Kind,
    pub(crate) schema: u32,
    pub(crate) age: Duration,
    pub(crate) ttl: Duration,
    pub(crate) tags: Box<[Box<str>]>,
    pub(crate) payload: Bytes,
}

/// Whole milliseconds, as the bytes have them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn write(envelope: &Envelope<'_>) -> Bytes {
    let tags_len: usize = envelope.tags.iter().map(|tag| tag.len() + 2).sum();
    let mut out = BytesMut::with_capacity(FIXED + tags_len + 4 + envelope.payload.len());
    out.put_slice(MAGIC);
    out.put_u8(FORMAT);
    out.put_u8(match envelope.kind {
        Kind::Bytes => 0,
        Kind::Json => 1,
        Kind::Http => 2,
    });
    out.put_u32(envelope.schema);
    out.put_u64(millis(envelope.age));
    out.put_u64(millis(envelope.ttl));
    // Tags are bounded where they are given (`tags::MAX_TAGS`, `key::MAX_LENGTH`), far below these fields.
    out.put_u16(u16::try_from(envelope.tags.len()).unwrap_or(u16::MAX));
    for tag in envelope.tags.iter().take(usize::from(u16::MAX)) {
        out.put_u16(u16::try_from(tag.len()).unwrap_or(u16::MAX));
        out.put_slice(tag.as_bytes());
    }
    // A payload over 4 GiB gives a length that does not match: unreadable, so a miss.
    out.put_u32(u32::try_from(envelope.payload.len()).unwrap_or(u32::MAX));
    out.put_slice(envelope.payload);
    out.freeze()
}

pub(crate) fn read(bytes: &Bytes) -> Option<Opened> {
    let mut rest = bytes.clone();
    if rest.len() < FIXED || &rest.split_to(2)[..] != MAGIC || rest.get_u8() != FORMAT {
        return None;
    }
    let kind = match rest.get_u8() {
        0 => Kind::Bytes,
        1 => Kind::Json,
        2 => Kind::Http,
        _ => return None,
    };
    let schema = rest.get_u32();
    let age = Duration::from_millis(rest.get_u64());
    let ttl = Duration::from_millis(rest.get_u64());
    let count = usize::from(rest.get_u16());
    let mut tags = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let len = usize::from(rest.try_get_u16().ok()?);
        if rest.len() < len {
            return None;
        }
        let tag = rest.split_to(len);
        tags.push(std::str::from_utf8(&tag).ok()?.into());
    }
    let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    (rest.len() == len).then_some(Opened { kind, schema, age, ttl, tags: tags.into(), payload: rest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(payload: &[u8], tags: &[Box<str>]) -> Bytes {
        write(&Envelope {
            kind: Kind::Json,
            schema: 7,
            age: Duration::from_millis(12),
            ttl: Duration::from_secs(60),
            tags,
            payload,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payload: Vec<u8>, tags in proptest::collection::vec(".{0,40}", 0..6)) {
            let tags: Vec<Box<str>> = tags.into_iter().map(Into::into).collect();
            let read = read(&sample(&payload, &tags)).unwrap();
            prop_assert_eq!(&read.payload[..], &payload[..]);
            prop_assert_eq!(&read.tags[..], &tags[..]);
            prop_assert_eq!((read.kind, read.schema), (Kind::Json, 7));
            prop_assert_eq!((read.age, read.ttl), (Duration::from_millis(12), Duration::from_secs(60)));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = read(&Bytes::from(bytes));
        }

        #[test]
        fn cut_or_lengthened_is_unreadable(payload: Vec<u8>, cut in 1usize..40) {
            let whole = sample(&payload, &["user:1".into()]);
            prop_assert!(read(&whole.slice(..whole.len().saturating_sub(cut))).is_none());
            let mut longer = whole.to_vec();
            longer.push(0);
            prop_assert!(read(&Bytes::from(longer)).is_none());
        }
    }

    #[test]
    fn another_layout_is_unreadable() {
        let mut other = sample(b"x", &[]).to_vec();
        other[2] = FORMAT + 1;
        assert!(read(&Bytes::from(other)).is_none());
    }
}
