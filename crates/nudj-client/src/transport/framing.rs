//! Headers that frame a message or steer one connection. They are the transport's to write.

use http::{HeaderMap, HeaderName, header};

const FRAMING: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes what a caller must not decide, such as the headers an axum handler forwards from its own request: a foreign
/// `content-length` truncates the body on the wire or leaves the server waiting for more.
///
/// Where a request enters, and not below the layers: a foreign `connection` would name what they have written, and so take away the
/// idempotency key or the credential.
#[inline]
pub(crate) fn strip(headers: &mut HeaderMap) {
    // One look at what is there costs a fifth of ten searches for what is not.
    if !headers.keys().any(frames) {
        return;
    }
    // RFC 9110, section 7.6.1: what Connection names is for this hop only.
    let lines: Vec<_> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    for name in lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        if let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) {
            headers.remove(name);
        }
    }
    for name in FRAMING.iter().chain([&KEEP_ALIVE, &PROXY_CONNECTION]) {
        headers.remove(name);
    }
}

fn frames(name: &HeaderName) -> bool {
    FRAMING.contains(name) || *name == KEEP_ALIVE || *name == PROXY_CONNECTION
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn strips_framing_and_what_connection_names_and_leaves_the_rest() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("host", "evil"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("trailer", "x"),
            ("x-kept", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        for name in headers.keys().filter(|name| !name.as_str().starts_with("x-")) {
            let mut alone: HeaderMap = [(name.clone(), "x".parse().unwrap())].into_iter().collect();
            strip(&mut alone);
            assert!(alone.is_empty(), "{name}");
        }
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn every_line_of_connection_counts_and_one_bad_name_hides_no_other() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::CONNECTION, &b"close, X-One"[..]),
            (header::CONNECTION, b"\xff, x-two ,,"),
            (HeaderName::from_static("x-one"), b"1"),
            (HeaderName::from_static("x-two"), b"2"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        strip(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }
}
