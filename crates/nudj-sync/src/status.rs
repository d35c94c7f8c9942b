//! Where a synchronization stands, told to whoever wants to show it: a dashboard, metrics, a log. Nothing is measured while nobody asks.
//!
//! ```
//! # use nudj_sync::status::SyncStatus;
//! let show = |status: &SyncStatus| println!("{} of {:?}, {:?} behind", status.done, status.total, status.lag);
//! ```
//! goes to `Batch::observer` and `ConsumerBuilder::observer`; a pipeline of change data capture is followed by `status::follow`.

use std::{sync::Arc, time::Duration};

/// Where a synchronization stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncStatus {
    /// Records, events or changes that are settled: by a batch with this checkpoint, else since it was started.
    pub done: u64,
    /// Of how many; `None` where there is no end.
    pub total: Option<u64>,
    /// How many wait, where that is known.
    pub waiting: Option<u64>,
    /// The age of the oldest that waits, zero when none does; `None` where it is not known.
    pub lag: Option<Duration>,
    /// Bytes of log that the source keeps for it, where it knows.
    pub lag_bytes: Option<u64>,
    /// Given up and kept to be looked at: dead letters on the bus, changes buried since the start, a batch's rows that failed.
    pub dead_letters: u64,
}

/// Told where a synchronization stands. Every `Fn(&SyncStatus)` is one. It is called in the midst of the work, so it must not wait.
pub trait SyncObserver: Send + Sync + 'static {
    /// It stands here now.
    fn status(&self, status: &SyncStatus);
}

impl<F: Fn(&SyncStatus) + Send + Sync + 'static> SyncObserver for F {
    fn status(&self, status: &SyncStatus) {
        self(status);
    }
}

/// No observer, or a shared one.
#[derive(Clone, Default)]
pub(crate) struct Observed(Option<Arc<dyn SyncObserver>>);

#[allow(dead_code, reason = "which parts use it depends on the features")]
impl Observed {
    pub(crate) fn by(observer: impl SyncObserver) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The status is made only where somebody wants it.
    pub(crate) fn tell(&self, status: impl FnOnce() -> SyncStatus) {
        if let Some(observer) = &self.0 {
            observer.status(&status());
        }
    }
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "observed" } else { "not observed" })
    }
}

#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
impl From<&crate::cdc::Status> for SyncStatus {
    fn from(status: &crate::cdc::Status) -> Self {
        let unmeasured = status.caught_up.then_some(Duration::ZERO);
        Self {
            done: status.applied.saturating_add(status.buried).saturating_add(status.unmapped),
            total: None,
            waiting: status.lag.changes,
            lag: status.lag.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).or(unmeasured),
            lag_bytes: status.lag.bytes,
            dead_letters: status.buried,
        }
    }
}

/// Tells of each change of a pipeline's status, until the pipeline has ended. To be dropped or spawned at will.
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
pub async fn follow(pipeline: &crate::cdc::Pipeline, observer: impl SyncObserver) {
    pipeline
        .wait_for(|status| {
            observer.status(&status.into());
            false
        })
        .await;
}
