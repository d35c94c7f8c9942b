//! What is counted per call: one look-up in a bounded table, then plain atomics.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use metrics::{Counter, Histogram, Label};
use parking_lot::RwLock;

use super::{
    catalogue::{DURATION, HTTP_DURATION, REQUESTS},
    meter::Meter,
    named::OTHER,
};

/// As many combinations are told apart; further ones count as [`OTHER`]. Ours are a few per operation.
const MAX_SERIES: usize = 512;

/// What tells one kind of call from another. Nothing in it comes from a caller's or a server's free text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CallKind {
    pub(super) operation: &'static str,
    pub(super) template: &'static str,
    pub(super) method: &'static str,
    pub(super) end: CallEnd,
    /// The endpoint's number; 0 when none was tried.
    pub(super) endpoint: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CallEnd {
    Status(u16),
    Error(&'static str),
    Dropped,
}

/// Where the last try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) port: Option<String>,
}

#[derive(Default)]
pub(super) struct Calls(RwLock<HashMap<CallKind, Series, RandomState>>);

struct Series {
    requests: Counter,
    duration: Histogram,
    http_duration: Histogram,
}

impl Calls {
    /// Counts a call; `server` is asked for once per kind.
    pub(super) fn count(
        &self,
        meter: &Meter,
        kind: CallKind,
        duration: Duration,
        server: impl FnOnce() -> Option<Server>,
    ) {
        if let Some(series) = self.0.read().get(&kind) {
            return series.count(duration);
        }
        let mut known = self.0.write();
        if known.len() < MAX_SERIES || known.contains_key(&kind) {
            return known.entry(kind).or_insert_with(|| Series::new(meter, kind, server().as_ref())).count(duration);
        }
        let end = match kind.end {
            CallEnd::Status(_) => CallEnd::Error(OTHER),
            other => other,
        };
        let other = CallKind { operation: OTHER, template: OTHER, method: "_OTHER", end, endpoint: 0 };
        known.entry(other).or_insert_with(|| Series::new(meter, other, None)).count(duration);
    }
}

impl Series {
    fn count(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.requests.increment(1);
        self.duration.record(seconds);
        self.http_duration.record(seconds);
    }

    fn new(meter: &Meter, kind: CallKind, server: Option<&Server>) -> Self {
        let status: std::borrow::Cow<'static, str> = match kind.end {
            CallEnd::Status(status) => status.to_string().into(),
            CallEnd::Error(error) => error.into(),
            CallEnd::Dropped => "dropped".into(),
        };
        let mut http = vec![Label::new("http_request_method", kind.method)];
        if kind.template != OTHER {
            http.push(Label::new("url_template", kind.template));
        }
        if let CallEnd::Status(_) = kind.end {
            http.push(Label::new("http_response_status_code", status.clone()));
        }
        match kind.end {
            CallEnd::Status(..400) => {}
            // As the spans say it.
            CallEnd::Dropped => http.push(Label::new("error_type", "cancelled")),
            CallEnd::Status(_) | CallEnd::Error(_) => http.push(Label::new("error_type", status.clone())),
        }
        if let Some(Server { address, port }) = server {
            http.push(Label::new("server_address", address.clone()));
            http.extend(port.clone().map(|port| Label::new("server_port", port)));
        }
        Self {
            requests: meter
                .counter(&REQUESTS, vec![Label::new("operation", kind.operation), Label::new("status", status)]),
            duration: meter.histogram(&DURATION, vec![Label::new("operation", kind.operation)]),
            http_duration: meter.histogram(&HTTP_DURATION, http),
        }
    }
}

impl Server {
    /// From an endpoint's name, which is an origin unless somebody named it otherwise.
    pub(crate) fn of(endpoint: &str) -> Self {
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (address, port) = match authority.rsplit_once(':') {
            Some((address, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, port)
            }
            _ => (
                authority,
                if scheme == "https" {
                    "443"
                } else if scheme == "http" {
                    "80"
                } else {
                    ""
                },
            ),
        };
        let address = address.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { address, port: (!port.is_empty()).then(|| port.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_from_origins() {
        for (endpoint, address, port) in [
            ("https://acme.nudj.cx", "acme.nudj.cx", Some("443")),
            ("http://127.0.0.1:8080/api", "127.0.0.1", Some("8080")),
            ("http://[::1]:8080", "::1", Some("8080")),
            ("http://[::1]", "::1", Some("80")),
            ("east", "east", None),
            ("", "", None),
        ] {
            let Server { address: found, port: found_port } = Server::of(endpoint);
            assert_eq!((found.as_str(), found_port.as_deref()), (address, port), "{endpoint}");
        }
    }
}
