//! What counts grants: a log of times, granules, or governor's cell rate. Values and `now` in, verdict out.
//!
//! Times are nanoseconds since the limiter was made; they never run backwards (see [`Limiter`](super::limiter::Limiter)).

mod gcra;
mod granules;
mod log;

use std::time::Duration;

use self::{gcra::Gcra, granules::Granules, log::Log};
use super::{
    allowance::Loan,
    config::{Algorithm, Quota},
};

/// A point in time.
pub(super) type Nanos = u64;

/// One call let through: what it takes to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant(Nanos);

impl Grant {
    /// Of a loan: at the beginning of its granule, which is never later than where a change of quota puts it.
    #[inline]
    pub(super) fn lent(at: Nanos) -> Self {
        Self(at)
    }
}

/// Up to here each grant's time is kept: 8 KiB at most.
const LOG_MAX: u32 = 1024;

#[derive(Clone, Debug)]
pub(super) enum Meter {
    Log(Log),
    Granules(Granules),
    Gcra(Gcra),
}

/// A quota in the meters' units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    max: u32,
    window: Nanos,
}

impl Rate {
    fn new(quota: Quota) -> Self {
        Self { max: quota.max_requests.max(1), window: nanos(quota.window).max(1) }
    }
}

#[inline]
pub(super) fn nanos(duration: Duration) -> Nanos {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

impl Meter {
    /// An unused meter. With `roomy` it takes all the memory it will need now, so that a grant never allocates.
    pub(super) fn new(algorithm: Algorithm, quota: Quota, roomy: bool) -> Self {
        let rate = Rate::new(quota);
        match algorithm {
            Algorithm::SlidingWindow if rate.max <= LOG_MAX => Self::Log(Log::new(rate, roomy)),
            Algorithm::SlidingWindow => Self::Granules(Granules::new(rate)),
            Algorithm::Gcra => Self::Gcra(Gcra::new(rate)),
        }
    }

    /// Takes quota for one call at `now`, if there is some.
    #[inline]
    pub(super) fn take(&mut self, now: Nanos) -> Option<Grant> {
        match self {
            Self::Log(log) => log.take(now),
            Self::Granules(granules) => granules.take(now),
            Self::Gcra(gcra) => gcra.take(now),
        }
        .map(Grant)
    }

    /// What may be taken at once, without each grant's time: of a log nothing, since it keeps them.
    pub(super) fn lend(&self) -> Option<Loan> {
        match self {
            Self::Granules(granules) => granules.lend(),
            Self::Log(_) | Self::Gcra(_) => None,
        }
    }

    /// Counts what was taken of the last [loan](Self::lend), before anything else is done.
    pub(super) fn count(&mut self, taken: u32) {
        if let Self::Granules(granules) = self {
            granules.count(taken);
        }
    }

    /// Forgets a grant whose call was never sent. One that has left the window meanwhile is forgotten already.
    pub(super) fn give_back(&mut self, grant: Grant, now: Nanos) {
        match self {
            Self::Log(log) => log.give_back(grant.0),
            Self::Granules(granules) => granules.give_back(grant.0),
            Self::Gcra(gcra) => gcra.give_back(grant.0, now),
        }
    }

    /// When the call with `ahead` others before it can pass, if none passes before `from` and then each as soon as it can.
    pub(super) fn nth(&self, ahead: usize, from: Nanos) -> Nanos {
        let ahead = ahead as u64;
        match self {
            Self::Log(log) => log.nth(ahead, from),
            Self::Granules(granules) => granules.nth(ahead, from),
            Self::Gcra(gcra) => gcra.nth(ahead, from),
        }
    }

    /// How many calls could pass at `now`.
    pub(super) fn available(&self, now: Nanos) -> u32 {
        match self {
            Self::Log(log) => log.available(now),
            Self::Granules(granules) => granules.available(now),
            Self::Gcra(gcra) => gcra.available(now),
        }
    }

    /// Whether it holds nothing that an unused meter would not know.
    pub(super) fn is_idle(&self, now: Nanos) -> bool {
        self.available(now) == self.rate().max
    }

    pub(super) fn counts_by(&self, quota: Quota) -> bool {
        self.rate() == Rate::new(quota)
    }

    /// Counts by another quota from `now` on. What was granted so far counts on, as far as the old quota needed to remember it.
    /// GCRA remembers no more than a full burst of the new one. `roomy` as in [`new`](Self::new).
    pub(super) fn change(&mut self, quota: Quota, now: Nanos, roomy: bool) {
        let rate = Rate::new(quota);
        match self {
            Self::Gcra(gcra) => gcra.change(rate, now),
            Self::Log(log) if rate.max <= LOG_MAX => log.change(rate, roomy),
            Self::Log(log) => {
                let mut next = Granules::new(rate);
                next.turn_to(now);
                log.grants().for_each(|at| next.record(at, 1));
                *self = Self::Granules(next);
            }
            Self::Granules(granules) if rate.max <= LOG_MAX => {
                let mut next = Log::new(rate, roomy);
                granules.grants(now).for_each(|(at, count)| next.record(at, count));
                *self = Self::Log(next);
            }
            Self::Granules(granules) => {
                let mut next = Granules::new(rate);
                next.turn_to(now);
                granules.grants(now).for_each(|(at, count)| next.record(at, count));
                *granules = next;
            }
        }
    }

    fn rate(&self) -> Rate {
        match self {
            Self::Log(log) => log.rate,
            Self::Granules(granules) => granules.rate,
            Self::Gcra(gcra) => gcra.rate,
        }
    }
}

#[cfg(test)]
mod tests;
