use std::{collections::BTreeMap, fmt, time::Duration};

use nudj_tower::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

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
    /// From one export of metrics to the next. Default 60 s; not 0.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// The longest one export may take, and the last one at shutdown. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How many ended spans may wait for their export; more are dropped. Default 2048; not 0.
    pub queue: usize,
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

    pub(super) fn shown_to_the_exporter(&self) -> std::collections::HashMap<String, String> {
        self.0.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
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
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            queue: 2048,
        }
    }
}

impl OtlpConfig {
    /// Says whether every field is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        nudj_tower::round_robin::Origin::parse(&self.endpoint)
            .map_err(|error| ConfigError::new("endpoint", error.to_string()))?;
        for (field, is_zero) in
            [("interval", self.interval.is_zero()), ("timeout", self.timeout.is_zero()), ("queue", self.queue == 0)]
        {
            if is_zero {
                return Err(ConfigError::new(field, "must be more than 0"));
            }
        }
        for (name, value) in &self.headers.0 {
            let usable =
                http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value.expose_secret()).is_ok();
            if !usable {
                return Err(ConfigError::new(format!("headers.{name}"), "cannot stand in a header"));
            }
        }
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
    /// The exporter refused its settings.
    #[error("the OTLP exporter refused its settings")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The last export failed.
    #[error("what was counted last could not be sent to the collector")]
    Shutdown(#[from] opentelemetry_sdk::error::OTelSdkError),
}
