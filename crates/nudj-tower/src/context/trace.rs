//! W3C Trace Context, level 1: reading and writing `traceparent`, carrying `tracestate`.
//!
//! Source: <https://www.w3.org/TR/trace-context/>.

use http::HeaderValue;

/// Sixteen bytes that name a trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// Eight bytes that name a span; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

/// The header is not a `traceparent` that may be continued; the trace must be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a W3C traceparent: expected `00-<32 hex>-<16 hex>-<2 hex>` in lower case, ids not zero; start a new trace"
)]
pub struct InvalidTraceparent;

/// A call's place in a distributed trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace this call belongs to.
    pub trace_id: TraceId,
    /// The span that caused this call: the caller's, or the call's own when it started the trace.
    pub parent: SpanId,
    /// Trace flags; bit 0 says that the trace is sampled.
    pub flags: u8,
    /// The vendors' list, carried unread.
    pub tracestate: Option<HeaderValue>,
}

/// Length of a version 00 `traceparent`.
const LEN: usize = 55;

impl TraceId {
    /// The id with this value; `None` for zero, which the recommendation forbids.
    #[must_use]
    pub fn new(value: u128) -> Option<Self> {
        (value != 0).then_some(Self(value))
    }

    #[inline]
    fn random(rng: &mut fastrand::Rng) -> Self {
        loop {
            if let Some(id) = Self::new(rng.u128(..)) {
                return id;
            }
        }
    }

    /// The id as a number, most significant byte first on the wire.
    #[must_use]
    pub fn get(self) -> u128 {
        self.0
    }
}

impl SpanId {
    /// The id with this value; `None` for zero, which the recommendation forbids.
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        (value != 0).then_some(Self(value))
    }

    /// A random id.
    #[must_use]
    #[inline]
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        loop {
            // Zero comes once in 2^64. A range would cost each id a multiplication.
            if let Some(id) = Self::new(rng.u64(..)) {
                return id;
            }
        }
    }

    /// The id as a number, most significant byte first on the wire.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TraceContext {
    /// Starts a trace, sampled.
    #[must_use]
    #[inline]
    pub fn start(rng: &mut fastrand::Rng) -> Self {
        Self { trace_id: TraceId::random(rng), parent: SpanId::random(rng), flags: 1, tracestate: None }
    }

    /// Reads a `traceparent`. A version above 00 is read by its first 55 bytes, as the recommendation says; `ff` is refused.
    ///
    /// # Errors
    /// [`InvalidTraceparent`] for anything else, upper-case digits and zero ids included.
    pub fn parse(header: &[u8]) -> Result<Self, InvalidTraceparent> {
        let (head, rest) = header.split_at_checked(LEN).ok_or(InvalidTraceparent)?;
        let version = byte(head[0], head[1]).ok_or(InvalidTraceparent)?;
        let well_ended = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !well_ended || head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return Err(InvalidTraceparent);
        }
        let trace_id = number(&head[3..35]).and_then(TraceId::new).ok_or(InvalidTraceparent)?;
        let parent = number(&head[36..52]).and_then(|id| SpanId::new(id as u64)).ok_or(InvalidTraceparent)?;
        let flags = byte(head[53], head[54]).ok_or(InvalidTraceparent)?;
        Ok(Self { trace_id, parent, flags, tracestate: None })
    }

    /// Writes the `traceparent` of a request sent under `span`: version 00, and of the flags only the sampled bit, the one that
    /// version defines.
    #[must_use]
    #[inline]
    pub fn traceparent(&self, span: SpanId) -> [u8; 55] {
        let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let trace = self.trace_id.0;
        for (place, word) in [(3, trace >> 96), (11, trace >> 64), (19, trace >> 32), (27, trace)] {
            out[place..place + 8].copy_from_slice(&hex(word as u32));
        }
        out[36..44].copy_from_slice(&hex((span.0 >> 32) as u32));
        out[44..52].copy_from_slice(&hex(span.0 as u32));
        out[54] += self.flags & 1;
        out
    }
}

/// Eight digits in one word at a time, since this is done for every attempt: 14 operations in place of 8 look-ups of two steps each.
fn hex(word: u32) -> [u8; 8] {
    let mut nibbles = u64::from(word);
    // One nibble to a byte, in order.
    nibbles = (nibbles & 0xffff_0000) << 16 | nibbles & 0xffff;
    nibbles = (nibbles & 0x0000_ff00_0000_ff00) << 8 | nibbles & 0x0000_00ff_0000_00ff;
    nibbles = (nibbles & 0x00f0_00f0_00f0_00f0) << 4 | nibbles & 0x000f_000f_000f_000f;
    // From 10 on, adding 6 carries into the next bit; the letters stand 39 beyond where the digits end.
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |value, &character| Some(value << 4 | u128::from(digit(character)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn refuses_what_the_recommendation_refuses() {
        for (header, why) in [
            ("", "empty"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", "no flags"),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "upper case"),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", "zero trace id"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "zero span id"),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "forbidden version"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", "version 00 with more"),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more", "more without a dash"),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "wrong separator"),
        ] {
            assert_eq!(TraceContext::parse(header.as_bytes()), Err(InvalidTraceparent), "{why}");
        }
        assert!(TraceContext::parse(GOOD.as_bytes()).is_ok());
        assert!(TraceContext::parse(b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x").is_ok());
    }

    #[test]
    fn writes_what_it_read_under_a_new_span() {
        let trace = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(&trace.traceparent(trace.parent), GOOD.as_bytes());
        let next = trace.traceparent(SpanId::new(0xab).unwrap());
        assert_eq!(&next[..], b"00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-01");
    }

    proptest! {
        #[test]
        fn never_panics_and_reads_only_what_it_would_write(
            changes in proptest::collection::vec((0_usize..60, prop_oneof![any::<u8>(), Just(b'-'), Just(b'f'), Just(b'0')]), 0..4),
            length in 40_usize..70,
        ) {
            let mut header = format!("{GOOD}-{GOOD}").into_bytes();
            header.truncate(length);
            for (at, byte) in changes {
                if let Some(place) = header.get_mut(at) {
                    *place = byte;
                }
            }
            if let Ok(trace) = TraceContext::parse(&header) {
                let sampled = TraceContext { flags: trace.flags & 1, ..trace.clone() };
                prop_assert_eq!(TraceContext::parse(&trace.traceparent(trace.parent)), Ok(sampled));
                prop_assert!(length == GOOD.len() || &header[..2] != b"00", "version 00 has no more fields");
                prop_assert!(header[..55].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')));
            }
        }

        #[test]
        fn a_started_trace_survives_the_wire(seed in any::<u64>()) {
            let trace = TraceContext::start(&mut fastrand::Rng::with_seed(seed));
            prop_assert_eq!(TraceContext::parse(&trace.traceparent(trace.parent)), Ok(trace));
        }
    }
}
