//! Header lists of stored answers.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sha2::{Digest, Sha256};

/// Hop-by-hop: they concern one connection and are not stored (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A 304 does not change these: they describe the body that is kept (RFC 9111, 3.2).
const BODYS: [HeaderName; 3] = [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_RANGE];

/// The headers of an answer as they are stored.
pub(super) fn storable(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(header::CONNECTION) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
                kept.remove(name);
            }
        }
    }
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

/// Stored headers brought up to date by those of a 304: each field it has replaces all of that name.
pub(super) fn updated(stored: &HeaderMap, by: &HeaderMap) -> HeaderMap {
    let mut headers = stored.clone();
    headers.remove(header::AGE);
    let by = storable(by);
    for name in by.keys().filter(|name| !BODYS.contains(name)) {
        headers.remove(name);
        for value in by.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// What a 304 says of the stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// It holds.
    Holds,
    /// Its version is strong, and the stored answer has none that could be the same one: nothing stored may be brought up
    /// to date by it (RFC 9111, 4.3.4). Some servers weaken the version of a compressed body and not that of its 304.
    Unclear,
    /// It is about another version.
    Other,
}

pub(super) fn confirmation(stored: &HeaderMap, answer: &HeaderMap) -> Confirmation {
    let strong = |value: &HeaderValue| !value.as_bytes().starts_with(b"W/");
    let Some(confirmed) = answer.get(header::ETAG).filter(|confirmed| strong(confirmed)) else {
        return Confirmation::Holds;
    };
    match stored.get(header::ETAG) {
        Some(stored) if weakly(stored) != weakly(confirmed) => Confirmation::Other,
        Some(stored) if strong(stored) => Confirmation::Holds,
        Some(_) | None => Confirmation::Unclear,
    }
}

/// Whether the caller's own conditions say it has the stored answer already (RFC 9110, 13.2.2).
pub(super) fn not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let Some(etag) = stored.get(header::ETAG) else { return false };
        return request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == weakly(etag))
        });
    }
    // Exactly the date that was given out; a cache need not compare dates.
    match (request.get(header::IF_MODIFIED_SINCE), stored.get(header::LAST_MODIFIED)) {
        (Some(since), Some(modified)) => since == modified,
        _ => false,
    }
}

fn weakly(etag: &HeaderValue) -> &[u8] {
    let bytes = etag.as_bytes();
    bytes.strip_prefix(b"W/").unwrap_or(bytes)
}

/// Makes a request ask whether the stored answer still holds. Whether it has a validator to ask with.
pub(super) fn ask_if_changed(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    let mut asks = false;
    for (condition, validator) in
        [(header::IF_NONE_MATCH, header::ETAG), (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED)]
    {
        if let Some(value) = stored.get(validator) {
            request.insert(condition, value.clone());
            asks = true;
        }
    }
    asks
}

/// The header names an answer varies by, sorted, each once.
pub(super) fn vary_names(headers: &HeaderMap) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = headers
        .get_all(header::VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// A hash of what a request says in the headers an answer varies by. Repeated headers and an absent one differ.
pub(super) fn selecting(headers: &HeaderMap, names: &[HeaderName]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for name in names {
        hash.update(name.as_str());
        for value in headers.get_all(name) {
            hash.update([1]);
            hash.update(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(value.as_bytes());
        }
        hash.update([0]);
    }
    let mut half = [0; 16];
    half.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    half
}

/// What a request's method and headers mean for the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handling {
    /// GET or HEAD that can be answered from the cache.
    Read,
    /// May change the resource.
    Change,
    /// None of the cache's business.
    Pass,
}

pub(super) fn handling(method: &Method, traits: Traits) -> Handling {
    match *method {
        Method::GET | Method::HEAD if traits.partial => Handling::Pass,
        Method::GET | Method::HEAD => Handling::Read,
        Method::OPTIONS | Method::TRACE | Method::CONNECT => Handling::Pass,
        _ => Handling::Change,
    }
}

/// Request headers that tell one identity from another.
pub(super) const CREDENTIALS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-token"),
    HeaderName::from_static("x-api-key"),
];

/// Request headers that say which of a resource's answers is wanted, and that an origin does not name in Vary: Nudj says
/// nothing of its own about `x-language`.
pub(super) const SELECTING: [HeaderName; 1] = [HeaderName::from_static("x-language")];

/// What a request's headers hold, found in one pass: a dozen lookups would cost as much as the rest of a hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// Cache-Control or Pragma.
    pub(super) directives: bool,
    /// A version of the caller's own to compare with.
    pub(super) conditional: bool,
    /// A range, or conditions that only the origin can judge.
    pub(super) partial: bool,
    /// One of [`CREDENTIALS`].
    pub(super) credential: bool,
    /// One of [`SELECTING`].
    pub(super) selecting: bool,
}

impl Traits {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut traits = Self::default();
        for name in headers.keys() {
            traits.directives |= *name == header::CACHE_CONTROL || *name == header::PRAGMA;
            traits.conditional |= *name == header::IF_NONE_MATCH || *name == header::IF_MODIFIED_SINCE;
            traits.partial |= *name == header::RANGE
                || *name == header::IF_RANGE
                || *name == header::IF_MATCH
                || *name == header::IF_UNMODIFIED_SINCE;
            traits.credential |= CREDENTIALS.contains(name);
            traits.selecting |= SELECTING.contains(name);
        }
        traits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn connection_headers_are_not_stored_and_repeated_ones_all_are() {
        let kept = storable(&map(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]));
        assert_eq!(kept, map(&[("set-cookie", "a"), ("set-cookie", "b")]));
    }

    #[test]
    fn confirmation_replaces_what_it_names_but_not_what_describes_the_body() {
        let stored = map(&[("content-length", "5"), ("x", "1"), ("x", "2"), ("y", "3"), ("age", "9")]);
        let by = map(&[("content-length", "0"), ("x", "4"), ("z", "5"), ("connection", "close")]);
        assert_eq!(updated(&stored, &by), map(&[("content-length", "5"), ("x", "4"), ("y", "3"), ("z", "5")]));
    }

    #[test]
    fn caller_that_has_the_version_is_told_so() {
        let stored = map(&[("etag", "\"a\""), ("last-modified", "Mon")]);
        for (request, told) in [
            (map(&[("if-none-match", "\"b\", W/\"a\"")]), true),
            (map(&[("if-none-match", "*")]), true),
            (map(&[("if-none-match", "\"b\""), ("if-modified-since", "Mon")]), false),
            (map(&[("if-modified-since", "Mon")]), true),
            (map(&[("if-modified-since", "Sun")]), false),
            (map(&[]), false),
        ] {
            assert_eq!(not_modified(&request, &stored), told, "{request:?}");
        }
    }

    #[test]
    fn another_strong_version_confirms_nothing() {
        use Confirmation::{Holds, Other, Unclear};
        for (stored, confirmed, expected) in [
            (Some("\"a\""), Some("\"a\""), Holds),
            (Some("\"a\""), Some("W/\"a\""), Holds),
            (Some("\"a\""), None, Holds),
            (Some("\"a\""), Some("\"b\""), Other),
            (Some("W/\"a\""), Some("\"a\""), Unclear),
            (Some("W/\"a\""), Some("\"b\""), Other),
            (None, Some("\"a\""), Unclear),
            (None, Some("W/\"a\""), Holds),
            (None, None, Holds),
        ] {
            let with =
                |etag: Option<&'static str>| map(&etag.map(|etag| ("etag", etag)).into_iter().collect::<Vec<_>>());
            assert_eq!(confirmation(&with(stored), &with(confirmed)), expected, "{stored:?} {confirmed:?}");
        }
    }

    #[test]
    fn selecting_headers_are_told_apart() {
        let names = vary_names(&map(&[("vary", "Accept-Language, accept"), ("vary", "ACCEPT")]));
        assert_eq!(names, [header::ACCEPT, header::ACCEPT_LANGUAGE]);
        let variants = [
            map(&[]),
            map(&[("accept", "")]),
            map(&[("accept", "a")]),
            map(&[("accept", "a"), ("accept", "a")]),
            map(&[("accept-language", "a")]),
            map(&[("accept", "ab")]),
        ];
        for (n, a) in variants.iter().enumerate() {
            for (m, b) in variants.iter().enumerate() {
                assert_eq!(selecting(a, &names) == selecting(b, &names), n == m, "{a:?} {b:?}");
            }
        }
    }
}
