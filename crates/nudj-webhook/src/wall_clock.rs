//! The wall clock, injected: timestamps of senders are compared with it, and deliveries are kept by it.
//!
//! Waiting is done by `tokio::time`; only points in time that must mean the same to another process or after a
//! restart (a sender's timestamp, a row's expiry) are read here.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Whole seconds since 1970, rounded down, negative before; saturates.
pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    unix_millis(at).div_euclid(1000)
}

/// Milliseconds since 1970, rounded down, negative before; saturates.
pub(crate) fn unix_millis(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(error) => {
            let before = error.duration();
            let whole = millis(before);
            let rest = i64::from(before.subsec_nanos() % 1_000_000 != 0);
            whole.checked_neg().unwrap_or(i64::MIN).saturating_sub(rest)
        }
    }
}

/// A duration in whole milliseconds; saturates.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The point in time `millis` after 1970; the epoch itself where that cannot be told.
pub(crate) fn from_unix_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let at = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    at.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        let cases = [(1_999, 1), (0, 0), (-1, -1), (-1_000, -1), (-1_001, -2)];
        for (millis, seconds) in cases {
            assert_eq!(unix_seconds(from_unix_millis(millis)), seconds, "{millis} ms");
            assert_eq!(unix_millis(from_unix_millis(millis)), millis);
        }
    }

    #[test]
    fn part_of_a_millisecond_before_the_epoch_rounds_down() {
        assert_eq!(unix_millis(UNIX_EPOCH - Duration::from_nanos(1)), -1);
    }
}
