//! Driving breakers from the page: only where a guard allows it, and only for the page itself.

use std::{fmt, net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, header, request::Parts, uri::Authority};
use nudj_tower::circuit_breaker::BreakerHandle;
use serde::Deserialize;

/// Says who may drive breakers.
#[derive(Clone)]
pub(super) struct Guard(pub(super) Arc<dyn Fn(&Parts) -> bool + Send + Sync>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// Only a script of the same origin can send this header: another origin's would have to ask first, and is not answered.
pub(super) const MARK: &str = "x-nudj-dashboard";
/// The longest body that is read.
pub(super) const MAX_BODY: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) endpoint: String,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    ForceOpen,
    ForceClosed,
    Automatic,
}

impl Action {
    pub(super) fn carry_out(self, breaker: &BreakerHandle) {
        match self {
            Self::ForceOpen => breaker.force_open(),
            Self::ForceClosed => breaker.disable(),
            Self::Automatic => breaker.reset(),
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ForceOpen => "forced open from the dashboard",
            Self::ForceClosed => "forced closed from the dashboard",
            Self::Automatic => "back to automatic from the dashboard",
        }
    }
}

/// Whether it was the page of this very origin that sent the request, by a name that is ours: one of `hosts`, or one that nobody else can point
/// here.
pub(super) fn from_the_page(parts: &Parts, hosts: &[String]) -> bool {
    let headers = &parts.headers;
    if text(headers, MARK) != Some("control") {
        return false;
    }
    let is_json = text(headers, "content-type").is_some_and(|kind| kind.split(';').next() == Some("application/json"));
    if !is_json || text(headers, "sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let host = text(headers, header::HOST.as_str()).or(parts.uri.authority().map(|authority| authority.as_str()));
    if host.is_some_and(|host| !is_ours(host, hosts)) {
        return false;
    }
    match headers.get(header::ORIGIN) {
        None => true, // No browser: those send it with every POST.
        Some(origin) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, authority)| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)))
        }
    }
}

fn is_ours(authority: &str, hosts: &[String]) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(headers: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::post("/breakers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn ours() -> Vec<String> {
        vec!["a.example".to_owned()]
    }

    #[test]
    fn only_the_page_itself_is_believed() {
        const GOOD: [(&str, &str); 3] =
            [("host", "a.example:8080"), ("content-type", "application/json"), (MARK, "control")];
        let rows: [(&[(&str, &str)], bool); 8] = [
            (&[], true),
            (&[("origin", "http://a.example:8080")], true),
            (&[("origin", "http://A.example:8080"), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "http://a.example")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://a.example:8080"), ("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
        ];
        for (more, believed) in rows {
            let headers: Vec<_> = GOOD.iter().chain(more).copied().collect();
            assert_eq!(from_the_page(&parts(&headers), &ours()), believed, "{more:?}");
        }
        for (left_out, _) in &GOOD[1..] {
            let headers: Vec<_> = GOOD.iter().filter(|(name, _)| name != left_out).copied().collect();
            assert!(!from_the_page(&parts(&headers), &ours()), "without {left_out}");
        }
        let form = [("host", "a"), ("content-type", "text/plain;application/json"), (MARK, "control")];
        assert!(!from_the_page(&parts(&form), &ours()));
    }

    #[test]
    fn a_name_that_its_owner_points_here_is_not_the_pages() {
        let rows = [
            ("localhost:8080", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("A.example", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ];
        for (host, believed) in rows {
            let origin = format!("http://{host}");
            let mut head =
                Request::post("/breakers").header("content-type", "application/json").header(MARK, "control");
            head = head.header("host", host).header("origin", origin).header("sec-fetch-site", "same-origin");
            let parts = head.body(()).unwrap().into_parts().0;
            assert_eq!(from_the_page(&parts, &ours()), believed, "{host}");
        }
    }
}
