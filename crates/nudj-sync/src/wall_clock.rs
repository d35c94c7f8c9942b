//! The wall clock, injected: it stamps records that outlive the process. Waiting is done by `tokio::time`.

use std::{fmt, time::SystemTime};

/// Tells the time of day.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> SystemTime;
}

/// The machine's clock; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Its time in milliseconds since 1970, and 0 for what was before.
#[cfg(any(feature = "bidirectional", feature = "event", feature = "cdc-sqlite", feature = "cdc-postgres"))]
pub(crate) fn millis(clock: &dyn WallClock) -> i64 {
    let since = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
