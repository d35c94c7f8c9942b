use std::{collections::BTreeMap, fmt, time::Duration};

use http::HeaderMap;
use nudj_tower::{ConfigError, round_robin::Origin};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::transport::header;

/// Where metrics and spans go, and how often.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// The collector's origin; `/v1/metrics` and `/v1/traces` are added. Default `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// What this program is called: the attribute `service.name`. Default `nudj-client`.
    pub service_name: String,
    /// Headers that each export carries, such as an API key. Default none.
    pub headers: Headers,
    /// Whether headers may go over plain HTTP to other machines than this one. Default false.
    pub allow_http: bool,
    /// From one export of metrics to the next. Default 60 s; not 0.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// The longest one export may take, and the last one at shutdown. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How many ended spans may wait for their export; more are dropped. Default 2048; at least 2, for a call and its attempt.
    pub queue: usize,
    /// The share of traces to export of those that begin here, 0 to 1, decided by the trace's id. One that began elsewhere is exported
    /// when its `traceparent` says it is sampled. Default 1: all.
    pub sample: f64,
    /// About how many spans a second are exported of the traces that begin here: while there would be more, a smaller share of them is. Those
    /// that began elsewhere are not counted. Default 2000; 0 for any number.
    pub spans_per_second: u32,
}

/// Headers whose values nobody sees.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, SecretString>);

impl Headers {
    /// These headers.
    pub fn new(headers: impl IntoIterator<Item = (String, SecretString)>) -> Self {
        Self(headers.into_iter().collect())
    }

    pub(super) fn to_send(&self) -> Result<HeaderMap, ConfigError> {
        let one = |(name, value): (&String, &SecretString)| {
            header(name, value.expose_secret())
                .ok_or_else(|| ConfigError::new(format!("headers.{name}"), "cannot stand in a header"))
        };
        self.0.iter().map(one).collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318".to_owned(),
            service_name: "nudj-client".to_owned(),
            headers: Headers::default(),
            allow_http: false,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            queue: 2048,
            sample: 1.0,
            spans_per_second: 2000,
        }
    }
}

impl OtlpConfig {
    /// Says whether every field is in its range, and whether the headers stay secret.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let origin = Origin::parse(&self.endpoint).map_err(|error| ConfigError::new("endpoint", error.to_string()))?;
        if origin.is_plain() && !origin.is_loopback() && !self.headers.0.is_empty() && !self.allow_http {
            let problem = "plain http would show the headers to the network; use https, or set allow_http = true";
            return Err(ConfigError::new("endpoint", problem));
        }
        for (field, is_zero) in [("interval", self.interval.is_zero()), ("timeout", self.timeout.is_zero())] {
            if is_zero {
                return Err(ConfigError::new(field, "must be more than 0"));
            }
        }
        if self.queue < 2 {
            return Err(ConfigError::new("queue", "must be at least 2"));
        }
        if !(0.0..=1.0).contains(&self.sample) {
            return Err(ConfigError::new("sample", "must be 0 to 1"));
        }
        self.headers.to_send()?;
        Ok(())
    }
}

/// What can go wrong when an export is set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// A field is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no Tokio runtime here to send on.
    #[error("must be started within a Tokio runtime: it sends there")]
    NoRuntime,
    /// TLS cannot be set up.
    #[error("the connection to the collector cannot be set up")]
    Transport(#[from] nudj_client::Error),
    /// The last export failed.
    #[error("what was counted last could not be sent to the collector")]
    Shutdown(#[from] ExportError),
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The collector did not take it in time.
    #[error("the collector did not answer in time")]
    Timeout,
    /// The collector answered with this status.
    #[error("the collector answered with status {0}")]
    Refused(u16),
    /// The collector cannot be reached.
    #[error("the collector cannot be reached")]
    Unreachable(#[source] nudj_tower::BoxError),
}
