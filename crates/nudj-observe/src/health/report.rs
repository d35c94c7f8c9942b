//! What a health report says, in the seed's words.

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How well something is. Ordered: the worst of several is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is well.
    Healthy,
    /// It works, and somebody should look.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl Status {
    /// `healthy`, `degraded` or `unhealthy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// How it is.
    pub status: Status,
    /// How long the check took, in milliseconds.
    pub response_time_ms: f64,
    /// When it was last not unhealthy, RFC 3339 in UTC; `None` if never.
    pub last_success: Option<String>,
    /// How many checks in a row found it unhealthy.
    pub consecutive_failures: u32,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What all checks found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The whole's status: that of its worst critical check, but `degraded` where only others are unhealthy.
    pub status: Status,
    /// When the report was asked for, RFC 3339 in UTC. What was found may be as old as `cache_for`, of a slow check
    /// six times that.
    pub timestamp: String,
    /// The checks by their names.
    pub checks: BTreeMap<String, CheckReport>,
}

/// The status of the whole, from the checks' and whether each is critical.
pub(super) fn overall(checks: impl IntoIterator<Item = (Status, bool)>) -> Status {
    let counts = |(status, critical)| if critical { status } else { Status::min(status, Status::Degraded) };
    checks.into_iter().map(counts).max().unwrap_or(Status::Healthy)
}

/// RFC 3339 in UTC; empty for a time that has no such form, beyond the year 9999.
pub(super) fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_critical_checks_make_the_whole_unhealthy() {
        use Status::{Degraded, Healthy, Unhealthy};
        for (checks, expected) in [
            (&[][..], Healthy),
            (&[(Healthy, true), (Healthy, false)], Healthy),
            (&[(Healthy, true), (Unhealthy, false)], Degraded),
            (&[(Degraded, true), (Healthy, true)], Degraded),
            (&[(Unhealthy, true), (Degraded, false)], Unhealthy),
        ] {
            assert_eq!(overall(checks.iter().copied()), expected, "{checks:?}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
