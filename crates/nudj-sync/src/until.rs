//! When a wait is over, however long it is.

use std::time::Duration;

use tokio::time::Instant;

/// Thirty years: nobody waits longer.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// `now + wait`, or far ahead where that is more than an instant can be, as for [`Duration::MAX`].
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + FAR)
}

/// As [`later`], from this moment.
pub(crate) fn from_now(wait: Duration) -> Instant {
    later(Instant::now(), wait)
}
