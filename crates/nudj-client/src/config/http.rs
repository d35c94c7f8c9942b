use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Error;

/// Connections and bodies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The largest body that is taken, in bytes, after decompression. Default 10 MiB; not 0.
    pub max_response_bytes: usize,
    /// Which versions of HTTP to speak. Default `auto`.
    pub version: HttpVersion,
    /// The longest a connection may take to be made. Default 5 s; not 0.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long a connection is kept that nobody uses. Default 90 s.
    #[serde(with = "humantime_serde")]
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept per endpoint. Default 64; 0 keeps none.
    pub pool_max_idle_per_host: usize,
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

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_response_bytes: 10 * 1024 * 1024,
            version: HttpVersion::Auto,
            connect_timeout: Duration::from_secs(5),
            pool_idle_timeout: Duration::from_secs(90),
            pool_max_idle_per_host: 64,
            ca_file: None,
            allow_http: false,
        }
    }
}

impl HttpConfig {
    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.max_response_bytes == 0 {
            return Err(Error::config("http.max_response_bytes", "must be above 0"));
        }
        if self.connect_timeout.is_zero() {
            return Err(Error::config("http.connect_timeout", "must be longer than 0"));
        }
        Ok(())
    }
}
