//! [`WebhookConfig`]: every number of this crate, its meaning and its default.

use std::time::Duration;

use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::{Error, Scheme};

/// Settings of a [`Receiver`](crate::Receiver). Durations are written as `"250ms"` or `"5m"`. Secrets are not among
/// them: they come by [`ReceiverBuilder::secret`](crate::ReceiverBuilder::secret), so that a settings file never holds one.
///
/// ```
/// let config: nudj_webhook::WebhookConfig = toml::from_str(
///     r#"
///     scheme = "standard"
///     tolerance = "2m"
///     [retry]
///     max_attempts = 8
///     "#,
/// )?;
/// config.validate()?;
/// assert_eq!(config.retry.max_attempts, 8);
/// assert_eq!(config.path, "/webhooks");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// The path of `Receiver::router`: `/`, letters, digits and `-._~`. Default `/webhooks`.
    pub path: String,
    /// Names this receiver in a shared store: equal delivery ids of two sources are two deliveries. 1 to 64 of letters,
    /// digits and `-._`. Default `nudj`.
    pub source: String,
    /// How the sender proves itself. Default `nudj`.
    pub scheme: Scheme,
    /// The header that the scheme `static_header` looks at. Default `authorization`.
    pub static_header: String,
    /// How far a signed timestamp may lie from now, to either side. 1 s to 1 h, default 5 min.
    #[serde(with = "humantime_serde")]
    pub tolerance: Duration,
    /// Oldest `timestamp` (or `createdAt`) in the body that is believed, and how far it may lie ahead; beyond it the
    /// answer is 401. For `nudj` and `static_header`, which sign no time of sending, at most half of `replay.retention`.
    ///
    /// Off by default: the body's time is that of the event, so that a sender that retries for longer would lose it
    /// here, and events without a readable time are refused. **Set it with `nudj`** if you can: a captured request works
    /// again once its id is forgotten, and nothing else stops it then. Some hours suit most senders.
    #[serde(with = "humantime_serde")]
    pub max_event_age: Option<Duration>,
    /// Longest body in bytes; longer is answered 413. 1 to 64 MiB, default 1 MiB.
    pub max_body_bytes: usize,
    /// How long the whole body may take to arrive; longer is answered 408. `Receiver::serve` gives the
    /// head as long. 1 ms to 10 min, default 10 s.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// How long the inbox may take to record a delivery; longer is answered 503. 1 ms to 1 min, default 5 s (senders wait
    /// 10 to 30 s).
    #[serde(with = "humantime_serde")]
    pub record_timeout: Duration,
    /// Requests worked on at the same time; more are answered 503. With `max_body_bytes` it bounds the memory that
    /// bodies take. At least 1, default 256.
    pub max_in_flight: usize,
    /// Connections that `Receiver::serve` keeps open at the same time; more wait to be accepted. At least 1, default 1024.
    pub max_connections: usize,
    /// What is remembered against repeats.
    pub replay: ReplayConfig,
    /// Deliveries between answer and handler.
    pub queue: QueueConfig,
    /// What happens when a handler fails.
    pub retry: RetryConfig,
}

/// What is remembered against repeated deliveries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayConfig {
    /// How long a delivery's id is remembered, and with `bind_body` its body. At least twice the tolerance, at most 90
    /// days, default 24 h (a sender may retry that late). Where the scheme signs no time, a request that is sent again
    /// after that is a new one, unless [`max_event_age`](WebhookConfig::max_event_age) refuses it.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Most ids remembered. At least 1, default 1 000 000 (about 64 MB in memory, once that many came).
    ///
    /// In memory, when full, the oldest goes if it is older than twice the tolerance (or twice `max_event_age`, see
    /// there); else new deliveries are answered 503. An SQL inbox refuses none for it: about once a minute it removes
    /// the oldest of those over it, which are older than that. What a `RedisGuard` keeps has no such limit.
    pub capacity: usize,
    /// Also treat a delivery whose body came before, byte for byte, as repeated, whatever its id. Nudj does not sign
    /// `X-Nudj-Delivery-Id`, so that somebody who captured a request could send it again under a new id; this stops
    /// it. The price: two events whose bodies are equal in every byte count as one. Default false. Has no effect on
    /// Standard Webhooks, which signs the id.
    pub bind_body: bool,
}

/// Deliveries between answer and handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Deliveries waiting for a handler or its retry; when full, new ones are answered 503. At least 1, default 10 000.
    pub capacity: usize,
    /// Bytes of bodies waiting in memory (the dead letters may take half as much again); when full, 503. At least
    /// `max_body_bytes`, default 64 MiB. An SQL inbox has no such limit.
    pub max_bytes: usize,
    /// Deliveries handled at the same time. At least 1, default 8.
    pub workers: usize,
    /// How long one handler may take; longer counts as failed. A delivery that a receiver took and died with is given out
    /// again once this time and 10 s more have passed. 1 ms to 1 h, default 30 s.
    #[serde(with = "humantime_serde")]
    pub handler_timeout: Duration,
    /// How often a shared store is asked for deliveries that another receiver recorded or left behind. At least
    /// 10 ms, default 1 s.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// Dead letters kept; when there are more, the oldest is dropped and counted. At least 1, default 1000.
    pub max_dead_letters: usize,
}

/// What happens when a handler fails: it is called again after `base_delay * 2^n` (half of it fixed, half of it drawn),
/// up to `max_attempts` calls in all, then the delivery is a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Attempts in all, the first included. At least 1, default 5.
    pub max_attempts: u32,
    /// The delay before the second attempt, before jitter. At least 1 ms, default 1 s.
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    /// No delay is longer. At least `base_delay`, at most 1 day, default 5 min.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            path: "/webhooks".to_owned(),
            source: "nudj".to_owned(),
            scheme: Scheme::Nudj,
            static_header: "authorization".to_owned(),
            tolerance: Duration::from_secs(300),
            max_event_age: None,
            max_body_bytes: 1 << 20,
            read_timeout: Duration::from_secs(10),
            record_timeout: Duration::from_secs(5),
            max_in_flight: 256,
            max_connections: 1024,
            replay: ReplayConfig::default(),
            queue: QueueConfig::default(),
            retry: RetryConfig::default(),
        }
    }
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self { retention: Duration::from_secs(24 * 3600), capacity: 1_000_000, bind_body: false }
    }
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            max_bytes: 64 << 20,
            workers: 8,
            handler_timeout: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            max_dead_letters: 1000,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { max_attempts: 5, base_delay: Duration::from_secs(1), max_delay: Duration::from_secs(300) }
    }
}

impl WebhookConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that is out of its range.
    pub fn validate(&self) -> Result<(), Error> {
        let (queue, replay, retry) = (&self.queue, &self.replay, &self.retry);
        let hour = Duration::from_secs(3600);
        let ms = Duration::from_millis(1);
        let checks: [(bool, &'static str, &'static str); 21] = [
            (is_path(&self.path), "path", "must begin with `/` and have only letters, digits and `/-._~`"),
            (is_source(&self.source), "source", "must be 1 to 64 of letters, digits and `-._`"),
            (self.header_name().is_ok(), "static_header", "must be the name of a header"),
            (within(self.tolerance, Duration::from_secs(1), hour), "tolerance", "must be 1s to 1h"),
            (self.max_event_age.is_none_or(|age| !age.is_zero()), "max_event_age", "must be longer than 0, or absent"),
            ((1..=64 << 20).contains(&self.max_body_bytes), "max_body_bytes", "must be 1 to 67108864"),
            (within(self.read_timeout, ms, hour / 6), "read_timeout", "must be 1ms to 10m"),
            (within(self.record_timeout, ms, hour / 60), "record_timeout", "must be 1ms to 1m"),
            (is_permits(self.max_in_flight), "max_in_flight", "must be 1 to 1000000"),
            (is_permits(self.max_connections), "max_connections", "must be 1 to 1000000"),
            (
                within(replay.retention, self.tolerance.saturating_mul(2), hour * 24 * 90),
                "replay.retention",
                "must be at least twice the tolerance, and at most 90d",
            ),
            (
                self.replay_floor() <= replay.retention,
                "max_event_age",
                "must be at most half of replay.retention: what is still believed must not be forgotten",
            ),
            (replay.capacity >= 1, "replay.capacity", "must be at least 1"),
            (queue.capacity >= 1, "queue.capacity", "must be at least 1"),
            (queue.max_bytes >= self.max_body_bytes, "queue.max_bytes", "must be at least max_body_bytes"),
            (is_permits(queue.workers), "queue.workers", "must be 1 to 1000000"),
            (within(queue.handler_timeout, ms, hour), "queue.handler_timeout", "must be 1ms to 1h"),
            (within(queue.poll_interval, ms * 10, hour), "queue.poll_interval", "must be 10ms to 1h"),
            (queue.max_dead_letters >= 1, "queue.max_dead_letters", "must be at least 1"),
            (retry.max_attempts >= 1, "retry.max_attempts", "must be at least 1"),
            (
                retry.base_delay >= ms && within(retry.max_delay, retry.base_delay, hour * 24),
                "retry.max_delay",
                "must be at least base_delay (which is at least 1ms), and at most 1d",
            ),
        ];
        checks.into_iter().try_for_each(
            |(holds, field, problem)| {
                if holds { Ok(()) } else { Err(Error::config(field, problem)) }
            },
        )
    }

    pub(crate) fn header_name(&self) -> Result<HeaderName, Error> {
        HeaderName::try_from(&self.static_header)
            .map_err(|_| Error::config("static_header", "must be the name of a header"))
    }

    /// How long an id must be remembered at the least: nothing from before is believed any more. Twice, since a time may
    /// lie as far ahead.
    pub(crate) fn replay_floor(&self) -> Duration {
        let age = self.max_event_age.filter(|_| !self.scheme.signs_id_and_time());
        self.tolerance.max(age.unwrap_or_default()).saturating_mul(2)
    }
}

fn within(duration: Duration, least: Duration, most: Duration) -> bool {
    (least..=most).contains(&duration)
}

fn is_permits(number: usize) -> bool {
    (1..=1_000_000).contains(&number)
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte))
}

fn is_source(source: &str) -> bool {
    (1..=64).contains(&source.len())
        && source.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_being_written() {
        let config = WebhookConfig::default();
        config.validate().unwrap();
        assert_eq!(toml::from_str::<WebhookConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert_eq!(toml::from_str::<WebhookConfig>("").unwrap(), config);
    }

    #[test]
    fn unknown_field_is_an_error() {
        assert!(toml::from_str::<WebhookConfig>("tolerence = '5m'").is_err());
    }

    #[test]
    fn event_may_be_older_than_ids_are_kept_where_the_time_of_sending_is_signed() {
        let config: WebhookConfig = toml::from_str("scheme = 'standard'\nmax_event_age = '48h'").unwrap();
        config.validate().unwrap();
    }

    #[test]
    fn value_out_of_range_is_refused_by_name() {
        for (text, field) in [
            ("path = 'webhooks'", "path"),
            ("path = '/{a}'", "path"),
            ("source = ''", "source"),
            ("static_header = 'a b'", "static_header"),
            ("tolerance = '0s'", "tolerance"),
            ("tolerance = '2h'", "tolerance"),
            ("max_event_age = '0s'", "max_event_age"),
            ("max_event_age = '13h'", "max_event_age"),
            ("scheme = 'static_header'\nmax_event_age = '13h'", "max_event_age"),
            ("max_body_bytes = 0", "max_body_bytes"),
            ("read_timeout = '0s'", "read_timeout"),
            ("record_timeout = '61s'", "record_timeout"),
            ("max_in_flight = 0", "max_in_flight"),
            ("max_connections = 0", "max_connections"),
            ("replay.retention = '599s'", "replay.retention"),
            ("replay.capacity = 0", "replay.capacity"),
            ("queue.capacity = 0", "queue.capacity"),
            ("queue.max_bytes = 1", "queue.max_bytes"),
            ("queue.workers = 0", "queue.workers"),
            ("queue.handler_timeout = '0s'", "queue.handler_timeout"),
            ("queue.poll_interval = '1ms'", "queue.poll_interval"),
            ("queue.max_dead_letters = 0", "queue.max_dead_letters"),
            ("retry.max_attempts = 0", "retry.max_attempts"),
            ("retry.base_delay = '0s'", "retry.max_delay"),
            ("retry.max_delay = '1ms'", "retry.max_delay"),
        ] {
            let config: WebhookConfig = toml::from_str(text).unwrap();
            match config.validate() {
                Err(Error::Config { field: named, .. }) => assert_eq!(named, field, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
