use std::{path::PathBuf, time::Duration};

use nudj_tower::round_robin::Origin;
use serde::{Deserialize, Serialize};

use crate::{Error, transport::HAS_TLS};

/// Connections and bodies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The largest body that is taken, in bytes, after decompression. Default 10 MiB; not 0.
    pub max_response_bytes: usize,
    /// Which versions of HTTP to speak. Default `auto`.
    pub version: HttpVersion,
    /// What keeps the connections. Default `pool`.
    pub transport: Transport,
    /// The longest a connection may take to be made. It covers address, TCP and TLS. A host's addresses are tried in turn, and each has an equal
    /// share of it for TCP, so that one which swallows what is sent leaves time for the next: a name of eight needs eight times what one takes. Default
    /// 5 s; not 0.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses. Default 90 s; 0 keeps none.
    #[serde(with = "humantime_serde")]
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept per endpoint. With `pool` those that calls share over HTTP/2 are no part of
    /// it: they are kept whatever this says, until `pool_idle_timeout` ends them. Default 64; 0 keeps none.
    pub pool_max_idle_per_host: usize,
    /// How many connections may be open per endpoint; `legacy` has no such limit. Default 256; not 0.
    pub pool_max_per_host: usize,
    /// How many of them may be HTTP/2's that take calls; a further one is made when all streams that the peer allows are in use; `legacy` has one.
    /// It goes when it was unused for `pool_idle_timeout`. Default 1, as RFC 9113, section 9.1, has it: raise it where a peer, or a proxy before it,
    /// takes fewer streams at once than there are calls. Not 0.
    pub pool_max_http2_per_host: usize,
    /// How many calls may wait for a connection, or over HTTP/2 for a stream, per endpoint; `legacy` has no such limit. Default 1024; not 0.
    pub pool_max_waiting: usize,
    /// The longest a call waits for a connection to be made or freed, or a stream to end; not so with `legacy`. Where none was made by then, the call fails
    /// as one that could not connect. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub pool_max_wait: Duration,
    /// How old a connection may be when a call begins on it; not so with `legacy`. Default 10 min; 0 is no limit.
    #[serde(with = "humantime_serde")]
    pub pool_max_age: Duration,
    /// A PEM file of certificate authorities to trust instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// Whether plain HTTP may go to other machines than this one, token included. Default false.
    pub allow_http: bool,
}

/// Which versions of HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    /// Over TLS what ALPN chooses, HTTP/1.1 without TLS.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge.
    Http2,
}

/// What keeps the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Our own pool over hyper's and h2's connections: bounded, and less work per call.
    #[default]
    Pool,
    /// hyper-util's `client::legacy`.
    Legacy,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_response_bytes: 10 * 1024 * 1024,
            version: HttpVersion::Auto,
            transport: Transport::default(),
            connect_timeout: Duration::from_secs(5),
            pool_idle_timeout: Duration::from_secs(90),
            pool_max_idle_per_host: 64,
            pool_max_per_host: 256,
            pool_max_http2_per_host: 1,
            pool_max_waiting: 1024,
            pool_max_wait: Duration::from_secs(10),
            pool_max_age: Duration::from_secs(600),
            ca_file: None,
            allow_http: false,
        }
    }
}

const NO_TLS: &str = "needs the feature tls-aws-lc or tls-ring of nudj-client, and this build has neither";

impl HttpConfig {
    /// Reads an origin to which a secret may be sent: not over plain HTTP to another machine without `allow_http`, no URL that
    /// carries a password, and none that takes TLS where the build has none.
    pub(crate) fn origin(&self, field: &str, text: &str) -> Result<Origin, Error> {
        self.origin_where(HAS_TLS, field, text)
    }

    fn origin_where(&self, has_tls: bool, field: &str, text: &str) -> Result<Origin, Error> {
        let origin = self.named_origin(field, text)?;
        if !origin.is_plain() && !has_tls {
            return Err(Error::config(field, format!("https {NO_TLS}")));
        }
        Ok(origin)
    }

    /// As [`origin`](Self::origin), where nothing is sent to it from here.
    pub(crate) fn named_origin(&self, field: &str, text: &str) -> Result<Origin, Error> {
        let origin = Origin::parse(text).map_err(|error| Error::config(field, error.to_string()))?;
        if origin.is_plain() && !origin.is_loopback() && !self.allow_http {
            let problem =
                "plain http would show the token or secret to the network; use https, or set http.allow_http = true";
            return Err(Error::config(field, problem));
        }
        Ok(origin)
    }

    fn check_tls(&self, has_tls: bool) -> Result<(), Error> {
        let is_idle = self.ca_file.is_some() && !has_tls;
        if is_idle { Err(Error::config("http.ca_file", NO_TLS)) } else { Ok(()) }
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.max_response_bytes == 0 {
            return Err(Error::config("http.max_response_bytes", "must be above 0"));
        }
        self.check_tls(HAS_TLS)?;
        if self.connect_timeout.is_zero() {
            return Err(Error::config("http.connect_timeout", "must be longer than 0"));
        }
        for (field, value) in [
            ("http.pool_max_per_host", self.pool_max_per_host),
            ("http.pool_max_http2_per_host", self.pool_max_http2_per_host),
            ("http.pool_max_waiting", self.pool_max_waiting),
        ] {
            if value == 0 {
                return Err(Error::config(field, "must be above 0"));
            }
        }
        if self.pool_max_wait.is_zero() {
            return Err(Error::config("http.pool_max_wait", "must be longer than 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_tls_takes_nothing_that_is_to_be_encrypted() {
        let config = HttpConfig { ca_file: Some("ca.pem".into()), ..HttpConfig::default() };
        let error = config.origin_where(false, "endpoints[0]", "https://acme.nudj.cx").unwrap_err().to_string();
        assert!(error.contains("endpoints[0]") && error.contains("tls-ring"), "{error}");
        let error = config.check_tls(false).unwrap_err().to_string();
        assert!(error.contains("http.ca_file") && error.contains("tls-ring"), "{error}");
        assert!(config.origin_where(true, "endpoints[0]", "https://acme.nudj.cx").is_ok());
        assert!(config.check_tls(true).is_ok());
        assert!(config.origin_where(false, "endpoints[0]", "http://127.0.0.1:1").is_ok());
    }
}
