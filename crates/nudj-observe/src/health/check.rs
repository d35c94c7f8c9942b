//! One check: made at most so often, once at a time, and for so long, whoever waits for it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use nudj_tower::{BoxError, ConfigError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    pin,
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
    /// How long what was found holds: however often it is asked for, the check is made no more often. Whoever asks later and has waited
    /// half a second for a new check gets what was found before, if that is no older than six times this. Default 5 s; 0 checks
    /// for each caller, or once for those that come at the same time, and has them wait.
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
    /// Held by whoever makes the check.
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    last: Option<(Instant, CheckReport)>,
    last_success: Option<String>,
    consecutive_failures: u32,
}

/// An error's text is cut here: a report is for people, and bounded.
const MOST_TEXT: usize = 300;
/// A caller waits so long for a check that is made anew; kubelet gives up after 1 s. Then what was found before will do,
const PATIENCE: Duration = Duration::from_millis(500);
/// if it is not older than so many times `cache_for`.
const STALE: u32 = 6;

impl Kept {
    pub(super) fn new(name: String, config: CheckConfig, check: Arc<dyn Check>) -> Self {
        Self { name, config, check, turn: Arc::default(), state: Arc::default() }
    }

    /// What was found lately, else what is found now, else, when that takes long, what was found before. Callers of the same moment
    /// share one check; it goes on when they leave, so that the next one meets what it found.
    pub(super) async fn report(&self, wall_clock: fn() -> SystemTime) -> CheckReport {
        let asked = Instant::now();
        let cache_for = self.config.cache_for;
        if let Some(report) = self.found(asked, cache_for) {
            return report;
        }
        let looking = self.look(asked, wall_clock);
        pin!(looking);
        if let Ok(report) = timeout(PATIENCE, &mut looking).await {
            return report;
        }
        match self.found(asked, cache_for.saturating_mul(STALE)) {
            Some(report) => report,
            None => looking.await,
        }
    }

    /// What was found after `asked`, or less than `holds` ago.
    fn found(&self, asked: Instant, holds: Duration) -> Option<CheckReport> {
        let state = self.state.lock();
        let (at, report) = state.last.as_ref()?;
        (*at > asked || at.elapsed() < holds).then(|| report.clone())
    }

    async fn look(&self, asked: Instant, wall_clock: fn() -> SystemTime) -> CheckReport {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if let Some(report) = self.found(asked, self.config.cache_for) {
            return report;
        }
        let (check, state, limit) = (Arc::clone(&self.check), Arc::clone(&self.state), self.config.timeout);
        let looking = tokio::spawn(async move {
            let start = Instant::now();
            let found = made(check, limit).await;
            let report = state.lock().note(found, start.elapsed(), wall_clock());
            drop(turn);
            report
        });
        // It does not panic: it ends early only with its runtime.
        looking.await.unwrap_or_else(|_| State::default().note(Err("stopped".into()), Duration::ZERO, wall_clock()))
    }
}

async fn made(check: Arc<dyn Check>, limit: Duration) -> Result<Finding, String> {
    // A task of its own: a check that panics is one that failed. Dropping the set ends the task.
    let mut task = JoinSet::new();
    task.spawn(async move { check.check().await });
    match timeout(limit, task.join_next()).await {
        Err(_) => Err(format!("no answer within {limit:?}")),
        Ok(None | Some(Err(_))) => Err("the check itself panicked".to_owned()),
        Ok(Some(Ok(Err(error)))) => Err(text(&error.to_string())),
        Ok(Some(Ok(Ok(Finding::Degraded(problem))))) => Ok(Finding::Degraded(text(&problem))),
        Ok(Some(Ok(Ok(healthy)))) => Ok(healthy),
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
        let report = CheckReport {
            status,
            response_time_ms: took.as_secs_f64() * 1e3,
            last_success: self.last_success.clone(),
            consecutive_failures: self.consecutive_failures,
            error,
        };
        self.last = Some((Instant::now(), report.clone()));
        report
    }
}

/// Without control characters, and not endless.
fn text(problem: &str) -> String {
    problem.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_TEXT).collect()
}
