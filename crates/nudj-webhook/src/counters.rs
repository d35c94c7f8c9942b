//! What happened so far, for health checks and dashboards.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counts since the receiver was built, and two gauges.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)+
            /// Gauge: deliveries recorded and not handled yet.
            pub queue_depth: u64,
            /// Gauge: dead letters kept.
            pub dead_letters: u64,
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self, queue_depth: u64, dead_letters: u64) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)+ queue_depth, dead_letters }
            }
        }
    };
}

counters! {
    /// New deliveries, answered 2xx.
    accepted,
    /// Deliveries seen before, answered 2xx without a second effect.
    duplicate,
    /// Answered 401: not the sender's, or not recent.
    unauthorized,
    /// Answered 400: no event, or the body broke off.
    not_an_event,
    /// Answered 413.
    too_large,
    /// Answered 408.
    timed_out,
    /// Answered 405.
    wrong_method,
    /// Answered 503: too busy, full, stopping, or the store failed.
    unavailable,
    /// Deliveries whose handlers all succeeded.
    handled,
    /// Attempts that failed.
    failed_attempts,
    /// Deliveries given up, whatever became of them since.
    dead_lettered,
    /// Dead letters dropped because there were more than are kept.
    dropped_dead_letters,
    /// Operations on the store that failed, apart from those that answered 503.
    store_errors,
}

impl Snapshot {
    /// Requests that were refused for what they are: 400, 401, 405, 408, 413.
    pub fn rejected(&self) -> u64 {
        self.unauthorized + self.not_an_event + self.too_large + self.timed_out + self.wrong_method
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
