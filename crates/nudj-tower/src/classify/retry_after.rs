use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue,
    header::{DATE, RETRY_AFTER},
};

/// Reads a `Retry-After`: seconds, or an HTTP-date (RFC 9110, section 10.2.3) seen from `now`.
///
/// A date in the past is zero. Seconds beyond what a `u64` holds are read as the largest, so that they stay "very long" and are
/// clamped or refused by the caller; anything else (signs, fractions, other dates) is `None`, as if the header were absent.
#[must_use]
pub fn parse(header: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = header.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Reads an answer's `Retry-After`. A date is seen from the answer's own `Date`, so that it does not matter how this machine's clock and the
/// server's differ, and from `now` where it has none.
#[must_use]
pub fn find(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?, sent(headers, now))
}

/// When an answer was sent: its `Date`, and `now` where it has none.
pub(super) fn sent(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> SystemTime {
    let date = || httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok();
    date().unwrap_or_else(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_seconds_and_dates_and_nothing_else() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        let seconds = |s| Some(Duration::from_secs(s));
        for (text, expected) in [
            ("0", seconds(0)),
            ("120", seconds(120)),
            (" 7 ", seconds(7)),
            ("007", seconds(7)),
            ("18446744073709551616", seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(37)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(37)),
            ("Sun Nov  6 08:49:37 1994", seconds(37)),
            ("Sun, 06 Nov 1994 08:48:00 GMT", seconds(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1s", None),
            ("tomorrow", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(parse(&HeaderValue::from_static(text), now), expected, "{text:?}");
        }
    }

    #[test]
    fn a_date_is_seen_from_the_servers_clock_where_the_answer_tells_it() {
        let date = |text| httpdate::parse_http_date(text).unwrap();
        let fast = || date("Sun, 06 Nov 1994 09:00:00 GMT");
        let mut headers = HeaderMap::new();
        assert_eq!(find(&headers, fast), None);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(find(&headers, fast), Some(Duration::ZERO));
        headers.insert(DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:00 GMT"));
        assert_eq!(find(&headers, fast), Some(Duration::from_secs(37)));
        headers.insert(DATE, HeaderValue::from_static("today"));
        assert_eq!(find(&headers, fast), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = parse(&value, SystemTime::UNIX_EPOCH);
            }
        }
    }
}
