use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::retry_after;

/// What a server says is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimit {
    /// Calls left; `None` when only the reset is told.
    pub remaining: Option<u64>,
    /// How long until there is quota again.
    pub reset: Option<Duration>,
}

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const PAIRS: [(HeaderName, HeaderName); 2] = [
    (HeaderName::from_static("ratelimit-remaining"), HeaderName::from_static("ratelimit-reset")),
    (HeaderName::from_static("x-ratelimit-remaining"), HeaderName::from_static("x-ratelimit-reset")),
];

/// More members than this nobody writes; the rest is left unread.
const MAX_MEMBERS: usize = 16;

/// Reads what a server says about its limits, in the first of these forms that is there:
///
/// | form | from |
/// |---|---|
/// | `RateLimit: "default";r=0;t=30`, with `RateLimit-Policy: "default";q=100;w=60` | draft-ietf-httpapi-ratelimit-headers 08 and later |
/// | `RateLimit: limit=100, remaining=0, reset=30` | 07 |
/// | `RateLimit-Remaining: 0`, `RateLimit-Reset: 30` | before 07 |
/// | `X-RateLimit-Remaining: 0`, `X-RateLimit-Reset: 30` or `: 1767225600` | common use |
///
/// Of several quotas the used-up one with the latest reset is told, else the one with the least left. A used-up quota without a reset
/// takes its policy's window. A reset from 10^9 on is a time since 1970 (from 10^12 on in milliseconds), else seconds
/// from now; a fraction is rounded up; an HTTP-date is read too. Times are seen from the answer's own `Date`, so that it does not matter
/// how this machine's clock and the server's differ, and from `now` where it has none. What cannot be read is as if it were absent.
///
/// Source: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>.
#[must_use]
pub fn parse(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<ServerLimit> {
    // Most answers have none of them: look at the names once instead of asking for each.
    let is_one = |name: &str| name.strip_prefix("x-").unwrap_or(name).starts_with("ratelimit");
    if !headers.keys().any(|name| is_one(name.as_str())) {
        return None;
    }
    structured(headers).or_else(|| plain(headers, now))
}

fn structured(headers: &HeaderMap) -> Option<ServerLimit> {
    let mut worst: Option<ServerLimit> = None;
    let mut by_key = ServerLimit { remaining: None, reset: None };
    for member in members(headers, &RATE_LIMIT) {
        let mut parts = split(member, b';');
        let name = parts.next()?.trim();
        match name.split_once('=') {
            Some(("remaining", value)) => by_key.remaining = whole(value.trim()),
            Some(("reset", value)) => by_key.reset = whole(value.trim()).map(Duration::from_secs),
            _ => {
                let parameters = || split(member, b';').skip(1);
                let Some(remaining) = parameter(parameters(), "r") else { continue };
                let reset =
                    parameter(parameters(), "t").or_else(|| if remaining == 0 { window(headers, name) } else { None });
                let next = ServerLimit { remaining: Some(remaining), reset: reset.map(Duration::from_secs) };
                worst = Some(worst.map_or(next, |known| worse(known, next)));
            }
        }
    }
    worst.or_else(|| by_key.remaining.map(|_| by_key))
}

/// The length of the window that the policy of this name has.
fn window(headers: &HeaderMap, name: &str) -> Option<u64> {
    members(headers, &POLICY)
        .find(|member| split(member, b';').next().is_some_and(|known| known.trim() == name))
        .and_then(|member| parameter(split(member, b';').skip(1), "w"))
}

fn worse(one: ServerLimit, other: ServerLimit) -> ServerLimit {
    let key = |limit: &ServerLimit| {
        (limit.remaining != Some(0), if limit.remaining == Some(0) { Some(0) } else { limit.remaining })
    };
    match key(&one).cmp(&key(&other)) {
        std::cmp::Ordering::Less => one,
        std::cmp::Ordering::Greater => other,
        std::cmp::Ordering::Equal if one.reset >= other.reset => one,
        std::cmp::Ordering::Equal => other,
    }
}

fn plain(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<ServerLimit> {
    let (remaining, reset) = PAIRS.iter().find_map(|(remaining, reset)| {
        let (remaining, reset) = (headers.get(remaining), headers.get(reset));
        (remaining.is_some() || reset.is_some()).then_some((remaining, reset))
    })?;
    let remaining = remaining.and_then(|value| whole(value.to_str().ok()?.trim()));
    let reset = reset.and_then(|value| until(value, || retry_after::sent(headers, now)));
    (remaining.is_some() || reset.is_some()).then_some(ServerLimit { remaining, reset })
}

/// How long until the time that a reset names.
fn until(value: &HeaderValue, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (Some(seconds), Some(fraction)) = (whole(seconds), whole(fraction)) else {
        return retry_after::parse(value, now());
    };
    let since_1970 = match seconds {
        ..1_000_000_000 => return Some(Duration::from_secs(seconds.saturating_add(u64::from(fraction > 0)))),
        1_000_000_000..1_000_000_000_000 => Duration::from_secs(seconds.saturating_add(u64::from(fraction > 0))),
        _ => Duration::from_millis(seconds),
    };
    let now = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(since_1970.saturating_sub(now))
}

fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| split(line, b',')).take(MAX_MEMBERS)
}

fn parameter<'m>(mut parameters: impl Iterator<Item = &'m str>, key: &str) -> Option<u64> {
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        if name.trim() == key { whole(value.trim()) } else { None }
    })
}

/// The parts between `separator`s that stand outside of quoted strings.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ => return byte == separator && !quoted,
            }
            false
        });
        let (part, after) = match end {
            Some(end) => (text.get(..end)?, text.get(end + 1..)),
            None => (text, None),
        };
        rest = after;
        Some(part)
    })
}

/// A number without sign. One too large for a `u64` is read as the largest.
fn whole(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of 2026-01-01.
    const NEW_YEAR: u64 = 1_767_225_600;

    fn read(lines: &[(&'static str, &str)]) -> Option<(Option<u64>, Option<u64>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let limit = parse(&headers, || SystemTime::UNIX_EPOCH + Duration::from_secs(NEW_YEAR))?;
        Some((limit.remaining, limit.reset.map(|reset| reset.as_secs())))
    }

    #[test]
    fn reads_all_forms() {
        let some = |remaining, reset| Some((Some(remaining), reset));
        for (line, expected) in [
            ("\"default\";r=50;t=30", some(50, Some(30))),
            ("\"default\";r=0;t=30", some(0, Some(30))),
            ("default;r=0;t=30", some(0, Some(30))),
            (" \"a\" ; r=0 ; t=3 ", some(0, Some(3))),
            ("\"a\";r=9;t=1, \"b\";r=0;t=5, \"c\";r=0;t=60, \"d\";r=1;t=99", some(0, Some(60))),
            ("\"a\";r=9;t=1, \"b\";r=2;t=5", some(2, Some(5))),
            ("\"a,\\\";r=7\";r=0;t=4;pk=:c2U=:", some(0, Some(4))),
            ("\"a\";r=0", some(0, None)),
            ("limit=100, remaining=0, reset=12", some(0, Some(12))),
            ("limit=100, remaining=7", some(7, None)),
            ("\"a\";r=0;t=99999999999999999999999", some(0, Some(u64::MAX))),
            ("\"a\";r=-1;t=5", None),
            ("\"a\";t=5", None),
            ("\"a\"; r=0.5; t=5", None),
            ("\"unended;r=0;t=5", None),
            ("limit=100, reset=12", None),
            ("", None),
            (",,;;==,\"", None),
        ] {
            assert_eq!(read(&[("ratelimit", line)]), expected, "{line}");
        }
        for (reset, expected) in [
            ("30", Some(30)),
            ("0", Some(0)),
            ("1.25", Some(2)),
            ("1767225660", Some(60)),
            ("1767225660.5", Some(61)),
            ("1767225660000", Some(60)),
            ("1767225000", Some(0)),
            ("Thu, 01 Jan 2026 00:00:09 GMT", Some(9)),
            ("-5", None),
            ("soon", None),
            ("1e3", None),
        ] {
            for prefix in [["ratelimit-remaining", "ratelimit-reset"], ["x-ratelimit-remaining", "x-ratelimit-reset"]] {
                assert_eq!(read(&[(prefix[0], "0"), (prefix[1], reset)]), some(0, expected), "{reset}");
            }
        }
        // By the server's clock, which is five minutes ahead of ours.
        let date = ("date", "Thu, 01 Jan 2026 00:05:00 GMT");
        for reset in ["1767225960", "1767225960000", "Thu, 01 Jan 2026 00:06:00 GMT", "60"] {
            assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset), date]), some(0, Some(60)));
        }
        assert_eq!(read(&[("x-ratelimit-reset", "7")]), Some((None, Some(7))));
        assert_eq!(read(&[("x-ratelimit-remaining", "many")]), None);
        assert_eq!(read(&[("x-request-id", "7"), ("content-type", "text/plain")]), None);
    }

    #[test]
    fn a_used_up_quota_without_a_reset_takes_its_policys_window() {
        let policy = ("ratelimit-policy", "\"burst\";q=10;w=1, \"daily\";q=1000;w=86400");
        assert_eq!(read(&[("ratelimit", "\"daily\";r=0"), policy]), Some((Some(0), Some(86400))));
        assert_eq!(read(&[("ratelimit", "\"other\";r=0"), policy]), Some((Some(0), None)));
        assert_eq!(read(&[("ratelimit", "\"daily\";r=1"), policy]), Some((Some(1), None)));
    }

    #[test]
    fn a_list_may_come_in_several_lines_and_the_new_form_wins() {
        let lines = [("ratelimit", "\"a\";r=5;t=1"), ("ratelimit", "\"b\";r=0;t=2"), ("x-ratelimit-remaining", "9")];
        assert_eq!(read(&lines), Some((Some(0), Some(2))));
        assert_eq!(read(&[("ratelimit", "?"), ("x-ratelimit-remaining", "9")]), Some((Some(9), None)));
    }

    #[test]
    fn reads_so_many_members_and_no_more() {
        let many = ["\"a\";r=1"; MAX_MEMBERS].join(",");
        assert_eq!(read(&[("ratelimit", &format!("{many},\"b\";r=0"))]), Some((Some(1), None)));
    }

    proptest! {
        #[test]
        fn never_panics(
            lines in prop::collection::vec((0..6_usize, prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[\"\\\\,;=rtw0-9a :.-]{0,60}".prop_map(String::into_bytes),
            ]), 0..5),
            now in 0..u64::from(u32::MAX),
        ) {
            let names = [RATE_LIMIT, POLICY, PAIRS[0].0.clone(), PAIRS[0].1.clone(), PAIRS[1].0.clone(), PAIRS[1].1.clone()];
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(names[name].clone(), value);
                }
            }
            let _ = parse(&headers, || SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        }
    }
}
