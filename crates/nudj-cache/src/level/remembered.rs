//! What the levels outside this process agree on: how long a delete is remembered, and how old a write is against it.

use std::time::Duration;

/// How long a delete is remembered. A value read from the origin longer ago than this is not stored.
pub(crate) const DELETES_KEPT: Duration = Duration::from_secs(60);

#[cfg(any(feature = "redis", feature = "sqlite", feature = "postgres"))]
mod for_stores {
    use super::{DELETES_KEPT, Duration};
    use crate::level::Write;

    /// Whole milliseconds, as these stores have them.
    pub(crate) fn millis(duration: Duration) -> i64 {
        i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since reading the value began, rounded up; `None` when that is longer than deletes are remembered: it
    /// is then not stored. A value that is new by itself was begun after every delete: -1.
    pub(crate) fn age(write: &Write) -> Option<i64> {
        match write.as_of.map(|as_of| as_of.elapsed()) {
            None => Some(-1),
            Some(age) if age < DELETES_KEPT => Some(millis(age).saturating_add(1)),
            Some(_) => None,
        }
    }
}

#[cfg(any(feature = "redis", feature = "sqlite", feature = "postgres"))]
pub(crate) use self::for_stores::{age, millis};
