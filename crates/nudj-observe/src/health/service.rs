//! All checks together, and the builder.

use std::{fmt, future::Future, sync::Arc, time::SystemTime};

use futures_util::future::join_all;
use nudj_client::Client;
use nudj_tower::ConfigError;

use super::{
    check::{Check, CheckConfig, Kept},
    nudj::{Api, Authentication, Breakers, Probe},
    report::{Report, overall, rfc3339},
};

/// Makes checks and reports. A clone is the same checks. See the [module's page](super).
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    checks: Vec<Kept>,
    wall_clock: fn() -> SystemTime,
}

/// As many checks there may be.
const MOST_CHECKS: usize = 64;

impl Health {
    /// Starts without checks.
    pub fn builder() -> HealthBuilder {
        HealthBuilder { checks: Vec::new(), wall_clock }
    }

    /// What all checks find, made at the same time; what was found lately is not looked for again. Takes no longer than the
    /// longest timeout; half a second, where what was found before is young enough to stand in (see
    /// [`cache_for`](super::CheckConfig::cache_for)).
    ///
    /// Dropping it stops no check: each goes on, at most for its timeout, and the next report shows what it found.
    pub fn report(&self) -> impl Future<Output = Report> + Send + use<> {
        let this = Arc::clone(&self.0);
        async move {
            let timestamp = rfc3339((this.wall_clock)());
            let found = join_all(this.checks.iter().map(|check| check.report(this.wall_clock))).await;
            let status =
                overall(this.checks.iter().zip(&found).map(|(check, found)| (found.status, check.config.critical)));
            let checks = this.checks.iter().map(|check| check.name.clone()).zip(found).collect();
            Report { status, timestamp, checks }
        }
    }
}

/// Puts checks together.
#[must_use = "a builder does nothing until `build`"]
pub struct HealthBuilder {
    checks: Vec<Kept>,
    wall_clock: fn() -> SystemTime,
}

impl HealthBuilder {
    /// Adds a client's checks: `nudj_api` and `authentication`, by one shared call of `GET /api/v2/integration/me` through the
    /// whole stack (it takes quota, and meets what a caller would meet), and `circuit_breakers`, without a call.
    pub fn client(self, client: &Client, config: CheckConfig) -> Self {
        let probe = Probe::new(client.clone(), config.timeout);
        self.shared("nudj_api", config.clone(), Arc::new(Api(Arc::clone(&probe))))
            .shared("authentication", config.clone(), Arc::new(Authentication(probe)))
            .shared("circuit_breakers", config, Arc::new(Breakers(client.handles().clone())))
    }

    /// Adds a check.
    pub fn check(self, name: impl Into<String>, config: CheckConfig, check: impl Check) -> Self {
        self.shared(name, config, Arc::new(check))
    }

    /// Adds a check that is shared.
    pub fn shared(mut self, name: impl Into<String>, config: CheckConfig, check: Arc<dyn Check>) -> Self {
        self.checks.push(Kept::new(name.into(), config, check));
        self
    }

    /// Reads the wall clock by this function: for tests.
    pub fn wall_clock(mut self, wall_clock: fn() -> SystemTime) -> Self {
        self.wall_clock = wall_clock;
        self
    }

    /// Nothing is checked before the first report.
    ///
    /// # Errors
    /// [`ConfigError`]: a timeout of 0, a name given twice, more than 64 checks.
    pub fn build(self) -> Result<Health, ConfigError> {
        if self.checks.len() > MOST_CHECKS {
            return Err(ConfigError::new("checks", format!("must be at most {MOST_CHECKS}")));
        }
        for (index, check) in self.checks.iter().enumerate() {
            check.config.validate().map_err(|error| error.within(&check.name))?;
            if self.checks[..index].iter().any(|earlier| earlier.name == check.name) {
                return Err(ConfigError::new(check.name.clone(), "is the name of two checks"));
            }
        }
        Ok(Health(Arc::new(Inner { checks: self.checks, wall_clock: self.wall_clock })))
    }
}

#[expect(clippy::disallowed_methods, reason = "reports say when by the wall clock; nothing is decided by it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.checks.iter().map(|check| &check.name)).finish()
    }
}

impl fmt::Debug for HealthBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|check| &check.name)).finish()
    }
}
