//! One check: asked for at most so often, by one caller at a time, and for so long.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use nudj_tower::{BoxError, ConfigError};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::report::{CheckReport, Status, rfc3339};

/// What a check that could be made found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// All is well.
    Healthy,
    /// It works, but.
    Degraded(String),
}

/// The future of a [`Check`].
pub type Checking = Pin<Box<dyn Future<Output = Result<Finding, BoxError>> + Send>>;

/// Looks whether something works. Every `Fn() -> impl Future<Output = Result<Finding, BoxError>>` is one; an error means unhealthy,
/// and its text is shown to whoever asks for `/health`, so it must not hold a secret.
pub trait Check: Send + Sync + 'static {
    /// Looks once. Dropped when it takes longer than the check's timeout.
    fn check(&self) -> Checking;
}

impl<F, Fut> Check for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Finding, BoxError>> + Send + 'static,
{
    fn check(&self) -> Checking {
        Box::pin(self())
    }
}

/// How a check is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckConfig {
    /// The longest it may take; then it is unhealthy. Default 2 s; not 0.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long what was found holds: however often it is asked for, the check is made no more often. Default 5 s; 0 checks for
    /// each caller, or once for those that come at the same time.
    #[serde(with = "humantime_serde")]
    pub cache_for: Duration,
    /// Whether the whole is unhealthy when this is; else it is degraded. Default true.
    pub critical: bool,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(2), cache_for: Duration::from_secs(5), critical: true }
    }
}

impl CheckConfig {
    /// The defaults, for something that the service can do without.
    #[must_use]
    pub fn optional() -> Self {
        Self { critical: false, ..Self::default() }
    }

    /// Says whether every field is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::new("timeout", "must be longer than 0"));
        }
        Ok(())
    }
}

/// A check, and what it last found.
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) config: CheckConfig,
    pub(super) check: Arc<dyn Check>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<(Instant, CheckReport)>,
    last_success: Option<String>,
    consecutive_failures: u32,
}

/// An error's text is cut here: a report is for people, and bounded.
const MOST_TEXT: usize = 300;

impl Kept {
    pub(super) fn new(name: String, config: CheckConfig, check: Arc<dyn Check>) -> Self {
        Self { name, config, check, state: Mutex::default() }
    }

    /// What was found lately, else what is found now. Callers of the same moment share one check; one that is dropped stops its
    /// check, and the next in line makes it.
    pub(super) async fn report(&self, wall_clock: fn() -> SystemTime) -> CheckReport {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((at, report)) = &state.last
            && (*at > asked || at.elapsed() < self.config.cache_for)
        {
            return report.clone();
        }
        let start = Instant::now();
        let found = self.look().await;
        let took = start.elapsed();
        let report = state.note(found, took, wall_clock());
        state.last = Some((Instant::now(), report.clone()));
        report
    }

    async fn look(&self) -> Result<Finding, String> {
        // A task of its own: a check that panics is one that failed. Dropping the set ends the task.
        let mut task = JoinSet::new();
        let check = Arc::clone(&self.check);
        task.spawn(async move { check.check().await });
        match timeout(self.config.timeout, task.join_next()).await {
            Err(_) => Err(format!("no answer within {:?}", self.config.timeout)),
            Ok(None | Some(Err(_))) => Err("the check itself panicked".to_owned()),
            Ok(Some(Ok(Err(error)))) => Err(text(&error.to_string())),
            Ok(Some(Ok(Ok(Finding::Degraded(problem))))) => Ok(Finding::Degraded(text(&problem))),
            Ok(Some(Ok(Ok(healthy)))) => Ok(healthy),
        }
    }
}

impl State {
    fn note(&mut self, found: Result<Finding, String>, took: Duration, now: SystemTime) -> CheckReport {
        let (status, error) = match found {
            Ok(Finding::Healthy) => (Status::Healthy, None),
            Ok(Finding::Degraded(problem)) => (Status::Degraded, Some(problem)),
            Err(problem) => (Status::Unhealthy, Some(problem)),
        };
        if status == Status::Unhealthy {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        } else {
            self.consecutive_failures = 0;
            self.last_success = Some(rfc3339(now));
        }
        CheckReport {
            status,
            response_time_ms: took.as_secs_f64() * 1e3,
            last_success: self.last_success.clone(),
            consecutive_failures: self.consecutive_failures,
            error,
        }
    }
}

/// Without control characters, and not endless.
fn text(problem: &str) -> String {
    problem.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_TEXT).collect()
}
