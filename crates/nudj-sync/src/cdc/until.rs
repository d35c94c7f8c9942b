use std::time::Duration;

use tokio::time::Instant;

/// Longer than any process runs.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// When `wait` is over. A wait that no clock can count, as `Duration::MAX`, is one without end.
pub(super) fn from_now(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + FAR)
}
