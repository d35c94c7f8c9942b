//! What is counted per call: one look-up in a bounded table, then plain atomics.

use std::{borrow::Cow, time::Duration};

use metrics::{Counter, Histogram, Label};

use super::{
    catalogue::{DURATION, HTTP_DURATION, REQUESTS},
    meter::Meter,
    named::OTHER,
    slots::{Slots, mix},
};

/// As many combinations are told apart; further ones count as [`OTHER`]. Ours are a few per operation.
const MAX_SERIES: usize = 512;

/// What tells one kind of call from another. Nothing in it comes from a caller's or a server's free text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CallKind {
    pub(super) operation: &'static str,
    pub(super) template: &'static str,
    pub(super) method: &'static str,
    pub(super) end: CallEnd,
    /// The endpoint's number; 0 when none was tried.
    pub(super) endpoint: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CallEnd {
    Status(u16),
    /// Any status of these hundred.
    StatusClass(u8),
    /// An answer of a protocol without statuses.
    Ok,
    Error(&'static str),
    Dropped,
}

/// Where the last try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) port: Option<String>,
}

pub(super) struct Calls {
    known: Slots<CallKind, Series>,
    /// For what finds no room: how it ended is still told apart.
    others: Slots<CallEnd, Series>,
}

struct Series {
    requests: Counter,
    duration: Histogram,
    http_duration: Histogram,
}

impl Default for Calls {
    fn default() -> Self {
        // A call ends in one of a dozen kinds of error, or of five of status.
        Self { known: Slots::new(MAX_SERIES), others: Slots::new(32) }
    }
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
        let made = || (kind, Series::new(meter, kind, server().as_ref()));
        if let Some((_, series)) = self.known.get(kind.hash(), |other| other.is(&kind), made) {
            return series.count(duration);
        }
        let end = kind.end.coarse();
        let other = CallKind { operation: OTHER, template: OTHER, method: "_OTHER", end, endpoint: 0 };
        if let Some((_, series)) = self.others.get(0, |known| *known == end, || (end, Series::new(meter, other, None)))
        {
            series.count(duration);
        }
    }
}

impl CallKind {
    fn hash(&self) -> u64 {
        let end = match self.end {
            CallEnd::Status(status) => u64::from(status),
            CallEnd::StatusClass(class) => u64::from(class),
            CallEnd::Error(error) => place(error).0,
            CallEnd::Ok => 0,
            CallEnd::Dropped => 1,
        };
        let texts = [self.operation, self.template, self.method].into_iter();
        texts.fold(mix(end, u64::from(self.endpoint)), |hash, text| mix(hash, place(text).0))
    }

    /// Static texts are compared by where they are. Where one text is in two places, a kind has two entries of the same counters.
    fn is(&self, other: &Self) -> bool {
        let places = |kind: &Self| [kind.operation, kind.template, kind.method].map(place);
        let is_same_end = match (self.end, other.end) {
            (CallEnd::Error(own), CallEnd::Error(other)) => place(own) == place(other),
            (own, other) => own == other,
        };
        is_same_end && self.endpoint == other.endpoint && places(self) == places(other)
    }
}

impl CallEnd {
    /// What is left of it where single statuses are too many to tell apart.
    fn coarse(self) -> Self {
        match self {
            Self::Status(status @ 100..600) => Self::StatusClass((status / 100) as u8),
            Self::Status(_) => Self::Error(OTHER),
            other => other,
        }
    }

    /// By OpenTelemetry's conventions; `None` for what is no failure of the call.
    fn error_type(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Status(..400) | Self::StatusClass(..4) | Self::Ok => None,
            Self::Status(status) => Some(status.to_string().into()),
            Self::StatusClass(_) => Some(OTHER.into()),
            Self::Error(error) => Some(error.into()),
            // As the spans say it.
            Self::Dropped => Some("cancelled".into()),
        }
    }

    /// The seed's label.
    fn status(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) => status.to_string().into(),
            Self::StatusClass(class) => format!("{class}xx").into(),
            Self::Ok => "ok".into(),
            Self::Error(error) => error.into(),
            Self::Dropped => "dropped".into(),
        }
    }
}

fn place(text: &'static str) -> (u64, usize) {
    (text.as_ptr().addr() as u64, text.len())
}

impl Series {
    fn count(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        self.requests.increment(1);
        self.duration.record(seconds);
        self.http_duration.record(seconds);
    }

    fn new(meter: &Meter, kind: CallKind, server: Option<&Server>) -> Self {
        let mut http = vec![Label::new("http_request_method", kind.method)];
        if kind.template != OTHER {
            http.push(Label::new("url_template", kind.template));
        }
        if let CallEnd::Status(_) = kind.end {
            http.push(Label::new("http_response_status_code", kind.end.status()));
        }
        http.extend(kind.end.error_type().map(|error| Label::new("error_type", error)));
        if let Some(Server { address, port }) = server {
            http.push(Label::new("server_address", address.clone()));
            http.extend(port.clone().map(|port| Label::new("server_port", port)));
        }
        Self {
            requests: meter.counter(
                &REQUESTS,
                vec![Label::new("operation", kind.operation), Label::new("status", kind.end.status())],
            ),
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
