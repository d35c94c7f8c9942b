//! The wall clock, which only the HTTP rules (Date, Expires) and SQLite's rows need; everything else runs on tokio's.

use std::{fmt, sync::Arc, time::SystemTime};

use tokio::time::Instant;

/// Where the wall clock is read. The default is the system's.
///
/// In tests with a paused tokio clock, [`WallClock::following_tokio`] moves with it.
///
/// ```
/// use std::time::SystemTime;
/// let clock = nudj_cache::WallClock::from_fn(|| SystemTime::UNIX_EPOCH);
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
/// ```
#[derive(Clone, Default)]
pub struct WallClock(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    Function(Arc<dyn Fn() -> SystemTime + Send + Sync>),
}

impl WallClock {
    /// A clock that asks `now`.
    pub fn from_fn(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Source::Function(Arc::new(now)))
    }

    /// A clock that shows `start` now and from then on moves as tokio's clock does, paused or not.
    #[must_use]
    pub fn following_tokio(start: SystemTime) -> Self {
        let zero = Instant::now();
        Self::from_fn(move || start.checked_add(zero.elapsed()).unwrap_or(start))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => system_time(),
            Source::Function(now) => now(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "WallClock(system)",
            Source::Function(_) => "WallClock(function)",
        })
    }
}
