//! Every number of the client, from TOML, the environment or code.
//!
//! [`Config::default`] is the seed's and DESIGN's numbers; only `endpoints` has no default. A file is read first, the
//! environment over it (`NUDJ_RETRY__MAX_RETRIES=5`), code over both. A time has a unit, `500ms`; in the environment 0 needs none.
//!
//! ```
//! use nudj_client::Config;
//!
//! let config = Config::from_toml("endpoints = ['https://acme.nudj.cx']\n[retry]\nmax_retries = 5").unwrap();
//! assert_eq!(config.retry.max_retries, 5);
//! let error = Config::from_toml("[retry]\nmax_retrys = 5").unwrap_err();
//! assert!(error.to_string().starts_with("retry.max_retrys"), "{error}");
//! ```

mod http;
mod load;
mod timeout;

use std::{fmt, time::Duration};

use nudj_tower::{
    circuit_breaker::CircuitBreakerConfig,
    credentials::CredentialsConfig,
    rate_limit::RateLimitConfig,
    retry::RetryConfig,
    round_robin::{Origin, RoundRobinConfig},
};
use serde::{Deserialize, Serialize};

pub use self::{
    http::{HttpConfig, HttpVersion, Transport},
    load::Loaded,
    timeout::TimeoutConfig,
};
use crate::Error;

/// The client's configuration. Unknown fields are errors. A password in an endpoint, which [`validate`](Self::validate) refuses, is not
/// printed by `Debug`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Origins to call, such as `https://acme.nudj.cx`; a path in one is a prefix. Required, at least one.
    pub endpoints: Vec<String>,
    /// How the token is sent.
    pub auth: AuthConfig,
    /// When and how often a request is sent again.
    pub retry: RetryConfig,
    /// When an endpoint is left alone.
    pub circuit_breaker: CircuitBreakerConfig,
    /// How calls are spread over the endpoints.
    pub round_robin: RoundRobinConfig,
    /// How many requests may be sent.
    pub rate_limit: RateLimitConfig,
    /// How long an attempt and a call may take.
    pub timeout: TimeoutConfig,
    /// Connections and bodies.
    pub http: HttpConfig,
}

/// How the token is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The header that carries the token. Default `x-api-token`, the one form valid in every version of the documentation.
    pub header: AuthHeader,
    /// When credentials that expire are renewed.
    pub renewal: CredentialsConfig,
}

/// The header that carries the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthHeader {
    /// `x-api-token: <token>`.
    #[default]
    XApiToken,
    /// `authorization: Bearer <token>`.
    Bearer,
}

impl Config {
    /// The defaults, with these endpoints.
    pub fn with_endpoints<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self { endpoints: endpoints.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Checks every value, alone and against the others.
    ///
    /// # Errors
    /// Of kind `config`, naming the field.
    pub fn validate(&self) -> Result<(), Error> {
        self.origins()?;
        self.retry.validate().map_err(|error| error.within("retry"))?;
        self.circuit_breaker.validate().map_err(|error| error.within("circuit_breaker"))?;
        self.round_robin.validate().map_err(|error| error.within("round_robin"))?;
        self.rate_limit.validate().map_err(|error| error.within("rate_limit"))?;
        self.auth.renewal.validate().map_err(|error| error.within("auth.renewal"))?;
        self.timeout.validate()?;
        let longest = self.longest_attempt();
        if self.circuit_breaker.half_open_for.is_some_and(|time| time <= longest) {
            return Err(Error::config(
                "circuit_breaker.half_open_for",
                format!(
                    "must be above {longest:?}, which is how long an attempt may take by timeout.attempt and timeout.total: else a probe \
                     that succeeds may come too late, and the circuit never closes; leave it out for enough time for all probes"
                ),
            ));
        }
        self.http.validate()
    }

    /// No attempt outlives its call.
    pub(crate) fn longest_attempt(&self) -> Duration {
        self.timeout.attempt.min(self.timeout.total)
    }

    /// The endpoints, parsed.
    ///
    /// # Errors
    /// Of kind `config`, naming the endpoint: none given, one twice, not an origin, or plain HTTP to another machine without
    /// `http.allow_http`.
    pub fn origins(&self) -> Result<Vec<Origin>, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::config("endpoints", "none given; add one such as \"https://acme.nudj.cx\""));
        }
        let mut origins: Vec<Origin> = Vec::with_capacity(self.endpoints.len());
        for (index, text) in self.endpoints.iter().enumerate() {
            let field = format!("endpoints[{index}]");
            let origin = self.http.origin(&field, text)?;
            if origins.iter().any(|known| known.name() == origin.name()) {
                return Err(Error::config(field, "the same endpoint is listed twice"));
            }
            origins.push(origin);
        }
        Ok(origins)
    }
}

// By hand: it may be printed before it is validated.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoints, auth, retry, circuit_breaker, round_robin, rate_limit, timeout, http } = self;
        f.debug_struct("Config")
            .field("endpoints", &endpoints.iter().map(|endpoint| without_password(endpoint)).collect::<Vec<_>>())
            .field("auth", auth)
            .field("retry", retry)
            .field("circuit_breaker", circuit_breaker)
            .field("round_robin", round_robin)
            .field("rate_limit", rate_limit)
            .field("timeout", timeout)
            .field("http", http)
            .finish()
    }
}

/// All before the last `@` is left out: a password that is not encoded may hold any character.
fn without_password(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, after)) => format!("[REDACTED]@{after}"),
        None => endpoint.to_owned(),
    }
}
