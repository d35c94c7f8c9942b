//! How long a step took.

use std::time::{Duration, Instant};

/// Runs `step` and says how long it took.
#[expect(clippy::disallowed_methods, reason = "a build command shows real time")]
pub(crate) fn timed<T>(step: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = step();
    (value, start.elapsed())
}
