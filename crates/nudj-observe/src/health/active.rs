//! Asks each endpoint how it is, and tells the round robin.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, Uri};
use http_body_util::Full;
use nudj_tower::{
    BoxError, ConfigError,
    round_robin::{Origin, RoundRobinHandle},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tower::{Service, ServiceExt};

/// How endpoints are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointChecksConfig {
    /// What is asked for, below the endpoint's origin; it carries no credential. Any answer below 500 is a good one. Default `/`.
    pub path: String,
    /// From one round to the next. Default 10 s; not 0.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// The longest one answer may take. Default 2 s; not 0.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// So many bad answers in a row mark an endpoint down. Default 3; not 0.
    pub fall: u32,
    /// So many good answers in a row mark it up again. Default 2; not 0.
    pub rise: u32,
}

impl Default for EndpointChecksConfig {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            fall: 3,
            rise: 2,
        }
    }
}

impl EndpointChecksConfig {
    /// Says whether every field is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.uri()?;
        for (field, is_zero) in [
            ("interval", self.interval.is_zero()),
            ("timeout", self.timeout.is_zero()),
            ("fall", self.fall == 0),
            ("rise", self.rise == 0),
        ] {
            if is_zero {
                return Err(ConfigError::new(field, "must be more than 0"));
            }
        }
        Ok(())
    }

    fn uri(&self) -> Result<Uri, ConfigError> {
        let uri = self.path.parse::<Uri>().ok().filter(|_| self.path.starts_with('/'));
        uri.ok_or_else(|| ConfigError::new("path", "must be a path, such as `/health`"))
    }
}

/// So many endpoints are asked at a time.
const AT_ONCE: usize = 16;

/// Asks endpoints until it is dropped or shut down. Either way the endpoints that it had marked down are marked up again, since
/// nobody would do it later.
pub struct EndpointChecks {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl EndpointChecks {
    /// Begins to ask the endpoints in `endpoints` that have an origin, over `transport`, such as
    /// [`Hyper`](nudj_client::transport::Hyper). Endpoints may come and go. The first round is somewhere in the first interval, so
    /// that many processes do not ask at once.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field, or when there is no Tokio runtime here.
    pub fn spawn<S>(
        endpoints: RoundRobinHandle,
        config: EndpointChecksConfig,
        transport: S,
    ) -> Result<Self, ConfigError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        config.validate()?;
        let path = config.uri()?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::new("endpoint checks", "must be started within a Tokio runtime"))?;
        let (stop, mut stopped) = oneshot::channel();
        let mut rounds = Rounds { marks: Marks { endpoints, tallies: HashMap::new() }, config, path, transport };
        let task = runtime.spawn(async move {
            tokio::select! {
                // Also when the sender is dropped.
                _ = &mut stopped => {}
                () = rounds.run() => {}
            }
        });
        Ok(Self { stop, task })
    }

    /// Stops asking; the marks are gone when this returns. Dropping it does the same a moment later.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task does not panic, and nobody else aborts it.
        let _ = self.task.await;
    }
}

struct Rounds<S> {
    marks: Marks,
    config: EndpointChecksConfig,
    path: Uri,
    transport: S,
}

impl<S> Rounds<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + Sync,
    S::Future: Send,
{
    async fn run(&mut self) {
        sleep(self.config.interval.mul_f64(fastrand::f64())).await;
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let names: Vec<Arc<str>> = self.marks.endpoints.endpoints().into_iter().map(|endpoint| endpoint.name).collect();
        self.marks.tallies.retain(|name, _| names.contains(name));
        let asking = names.into_iter().filter_map(|name| {
            let uri = Origin::parse(&name).ok()?.locate(self.path.clone()).ok()?;
            Some(ask(self.transport.clone(), name, uri, self.config.timeout))
        });
        let asking: Vec<_> = asking.collect();
        let answers: Vec<_> = stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
        for (name, is_good) in answers {
            self.marks.note(&name, is_good, &self.config);
        }
    }
}

/// The endpoint's name, and whether its answer is a good one.
async fn ask<S>(transport: S, name: Arc<str>, uri: Uri, limit: Duration) -> (Arc<str>, bool)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri;
    let answer = timeout(limit, transport.oneshot(request)).await;
    (name, matches!(answer, Ok(Ok(answer)) if answer.status().as_u16() < 500))
}

/// What was found of each endpoint. Dropped, it takes its marks back.
struct Marks {
    endpoints: RoundRobinHandle,
    tallies: HashMap<Arc<str>, Tally>,
}

impl Marks {
    fn note(&mut self, name: &Arc<str>, is_good: bool, config: &EndpointChecksConfig) {
        let tally = self.tallies.entry(Arc::clone(name)).or_default();
        match tally.count(is_good, config.fall, config.rise) {
            Some(Change::Down) => {
                tracing::warn!(endpoint = &**name, "endpoint does not answer its health check: marked down");
                self.endpoints.mark_down(name);
            }
            Some(Change::Up) => {
                tracing::info!(endpoint = &**name, "endpoint answers its health check: marked up");
                self.endpoints.mark_up(name);
            }
            // The mark may be gone: the endpoint was taken out and added anew, or somebody marked it up.
            None if tally.is_down && !is_good => {
                self.endpoints.mark_down(name);
            }
            None => {}
        }
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        for (name, _) in self.tallies.iter().filter(|(_, tally)| tally.is_down) {
            self.endpoints.mark_up(name);
        }
    }
}

/// Answers in a row that speak against what is believed.
#[derive(Debug, Default)]
struct Tally {
    is_down: bool,
    against: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Down,
    Up,
}

impl Tally {
    fn count(&mut self, is_good: bool, fall: u32, rise: u32) -> Option<Change> {
        if is_good != self.is_down {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if self.is_down { rise } else { fall } {
            return None;
        }
        self.against = 0;
        self.is_down = !self.is_down;
        Some(if self.is_down { Change::Down } else { Change::Up })
    }
}

impl fmt::Debug for EndpointChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointChecks").field("is_running", &!self.task.is_finished()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_falls_and_rises_after_so_many_answers_in_a_row() {
        let mut tally = Tally::default();
        let mut seen = |answers: &str| -> String {
            let count = |answer| match tally.count(answer == '+', 3, 2) {
                None => '.',
                Some(Change::Down) => 'D',
                Some(Change::Up) => 'U',
            };
            answers.chars().map(count).collect()
        };
        assert_eq!(seen("+--+---"), "......D");
        assert_eq!(seen("--+-+++--"), ".....U...");
        assert_eq!(seen("-"), "D");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let with = |change: fn(&mut EndpointChecksConfig)| {
            let mut config = EndpointChecksConfig::default();
            change(&mut config);
            config.validate().unwrap_err().field().to_owned()
        };
        assert_eq!(with(|config| config.path = "https://elsewhere.example/".into()), "path");
        assert_eq!(with(|config| config.interval = Duration::ZERO), "interval");
        assert_eq!(with(|config| config.timeout = Duration::ZERO), "timeout");
        assert_eq!(with(|config| config.fall = 0), "fall");
        assert_eq!(with(|config| config.rise = 0), "rise");
        EndpointChecksConfig::default().validate().unwrap();
    }
}
