//! Cache-Control, read with care.
//!
//! http-cache-semantics compares directives by exact case, splits inside quoted strings and adds ages without a bound
//! (an `Age` of 2^64-1 panics there). So everything it sees is written anew from what is read here: lower case, numbers
//! at most 2^31 (RFC 9111, 1.2.2), the shorter of two lifetimes.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// Largest number of seconds that means more than "for ever".
const MAX_SECONDS: u64 = 1 << 31;

/// The directives this cache knows, of a request or a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// There was a Cache-Control or Pragma header at all.
    pub(super) present: bool,
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) immutable: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// `Some(None)`: any staleness will do.
    pub(super) max_stale: Option<Option<u64>>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

impl Directives {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for value in headers.get_all(header::CACHE_CONTROL) {
            read.present = true;
            // Bytes beyond ASCII cannot be part of a directive this cache knows.
            each(&String::from_utf8_lossy(value.as_bytes()), |name, value| read.take(name, value));
        }
        if !read.present {
            for value in headers.get_all(header::PRAGMA) {
                read.present = true;
                each(&String::from_utf8_lossy(value.as_bytes()), |name, _| {
                    read.no_cache |= name.eq_ignore_ascii_case("no-cache");
                });
            }
        }
        read
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        // A lifetime that is not a number is none at all: stale at once (RFC 9111, 4.2.1).
        let seconds = || seconds(value.unwrap_or_default()).unwrap_or(0);
        let shorter = |known: Option<u64>| Some(known.map_or_else(seconds, |known| known.min(seconds())));
        match name.to_ascii_lowercase().as_str() {
            "no-store" => self.no_store = true,
            // With field names it concerns those fields only; taking it for all of them is the safe reading.
            "no-cache" => self.no_cache = true,
            "must-revalidate" => self.must_revalidate = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "immutable" => self.immutable = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => self.max_age = shorter(self.max_age),
            // The demanding reading of a broken one is the longest.
            "min-fresh" => self.min_fresh = Some(self::seconds(value.unwrap_or_default()).unwrap_or(MAX_SECONDS)),
            "max-stale" => self.max_stale = Some(value.map(|_| seconds())),
            "stale-while-revalidate" => self.stale_while_revalidate = shorter(self.stale_while_revalidate),
            "stale-if-error" => self.stale_if_error = shorter(self.stale_if_error),
            _ => {}
        }
    }

    /// Written anew, for http-cache-semantics.
    pub(super) fn canonical(&self) -> Option<HeaderValue> {
        let mut out = String::new();
        let mut push = |text: &str| {
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(text);
        };
        let flags = [
            (self.no_store, "no-store"),
            (self.no_cache, "no-cache"),
            (self.must_revalidate, "must-revalidate"),
            (self.private, "private"),
            (self.public, "public"),
            (self.immutable, "immutable"),
        ];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            push(name);
        }
        if let Some(seconds) = self.max_age {
            push(&format!("max-age={seconds}"));
        }
        if let Some(seconds) = self.min_fresh {
            push(&format!("min-fresh={seconds}"));
        }
        match self.max_stale {
            Some(Some(seconds)) => push(&format!("max-stale={seconds}")),
            Some(None) => push("max-stale"),
            None => {}
        }
        (!out.is_empty()).then(|| HeaderValue::try_from(out).ok()).flatten()
    }
}

/// Delta-seconds, at most 2^31; `None` when it is no number.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a u64 holds is more than the maximum as well.
    Some(text.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// The Age header, 0 when there is none that can be read.
pub(super) fn age(headers: &HeaderMap) -> Duration {
    let text = headers.get(header::AGE).and_then(|value| value.to_str().ok());
    Duration::from_secs(text.and_then(seconds).unwrap_or(0))
}

/// Calls `found` with each directive and its value, unquoted.
fn each(header: &str, mut found: impl FnMut(&str, Option<&str>)) {
    let mut rest = header;
    while !rest.is_empty() {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.find(|char| {
            match char {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let (item, after) = match end {
            Some(end) => (rest.get(..end), rest.get(end.saturating_add(1)..)),
            None => (Some(rest), None),
        };
        rest = after.unwrap_or_default();
        let item = item.unwrap_or_default().trim();
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (item, None),
        };
        if !name.is_empty() {
            found(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Directives {
        Directives::read(&HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::try_from(text).unwrap())]))
    }

    #[test]
    fn oddities() {
        assert!(read("No-Store").no_store, "case does not matter");
        assert!(read("private=\"a, b\", NO-CACHE=\"set-cookie\"").no_cache);
        assert!(!read("ext=\"x, no-store\"").no_store, "inside a quoted string");
        assert!(read("ext=\"\\\"\", no-store").no_store, "after an escaped quote");
        assert_eq!(read("max-age=10, max-age=5").max_age, Some(5));
        assert_eq!(read("max-age=\"10\"").max_age, Some(10));
        assert_eq!(read("max-age=abc").max_age, Some(0));
        assert_eq!(read("max-age=-1").max_age, Some(0));
        assert_eq!(read("max-age").max_age, Some(0));
        assert_eq!(read("max-age=99999999999999999999999").max_age, Some(MAX_SECONDS));
        assert_eq!(read("max-stale").max_stale, Some(None));
        assert_eq!(read("max-stale=3").max_stale, Some(Some(3)));
        assert_eq!(read(" , ,,").max_age, None);
        assert_eq!(read("stale-while-revalidate=7, stale-if-error=8").stale_while_revalidate, Some(7));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(header::PRAGMA, HeaderValue::from_static("No-Cache"));
        assert!(Directives::read(&headers).no_cache);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
        assert!(!Directives::read(&headers).no_cache);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = "no-cache, must-revalidate, private, immutable, max-age=5, min-fresh=2, max-stale=9";
        let directives = read(text);
        let written = directives.canonical().unwrap();
        assert_eq!(read(written.to_str().unwrap()), directives);
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(bytes in proptest::collection::vec(32u8..=255, 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let read = Directives::read(&HeaderMap::from_iter([(header::CACHE_CONTROL, value)]));
                prop_assert!(read.max_age.unwrap_or(0) <= MAX_SECONDS);
                let _ = read.canonical();
            }
        }
    }
}
