//! Deadlines as one number.

use std::{sync::LazyLock, time::Duration};

use tokio::time::Instant;

/// What deadlines are counted from. One that was over a day before the first was set is past all the same.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(86_400)).unwrap_or(now)
});

/// A deadline as the context keeps it: nanoseconds after [`EPOCH`]. Who may never need the time itself keeps this, and does no sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(super) u64);

impl Mark {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    #[inline]
    pub(super) fn of(deadline: Instant) -> Self {
        let since = deadline.saturating_duration_since(*EPOCH);
        Self(since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into()))
    }

    pub(crate) fn time(self) -> Option<Instant> {
        if self == Self::NEVER { None } else { EPOCH.checked_add(Duration::from_nanos(self.0)) }
    }
}
