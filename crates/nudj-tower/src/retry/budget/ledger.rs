//! The budget's arithmetic: calls and repeats of the last ten seconds in fixed memory. Times are arguments.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The span the budget looks back on.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Events closer together than this share a bucket: 64 buckets to a window.
pub(super) const GRANULE: Duration = Duration::from_nanos(156_250_000);
/// 64 buckets that lie a granule apart, one that is about to leave, one that has just begun.
const BUCKETS: usize = 66;
/// Ratios are kept as a whole number of billionths, so that 0.29 of 100 is 29 and not 28.
const SCALE: f64 = 1e9;

#[derive(Debug)]
pub(super) struct Ledger {
    ratio_billionths: u64,
    reserve: u64,
    calls: Window,
    sent: Window,
    /// Repeats that were granted and wait to be sent.
    pending: u64,
    /// How many calls have been put into the window so far, and when that was.
    counted: u64,
    counted_at: Option<Instant>,
}

impl Ledger {
    pub(super) fn new(ratio: f64, min_per_second: u32) -> Self {
        Self {
            ratio_billionths: billionths(ratio),
            reserve: u64::from(min_per_second) * WINDOW.as_secs(),
            calls: Window::new(Stamp::First),
            sent: Window::new(Stamp::Last),
            pending: 0,
            counted: 0,
            counted_at: None,
        }
    }

    /// Takes note that `total` calls have begun by `now`, the last `just_now` of them at this moment. The others began at some
    /// time since the last note; they are dated back to it, so that they leave early rather than late.
    pub(super) fn count(&mut self, total: u64, just_now: u64, now: Instant) {
        let new = total.saturating_sub(self.counted);
        let just_now = just_now.min(new);
        if let Some(then) = self.counted_at {
            self.calls.add(new - just_now, then);
        }
        self.calls.add(just_now, now);
        self.counted = self.counted.max(total);
        self.counted_at = Some(self.counted_at.map_or(now, |then| then.max(now)));
    }

    /// How many repeats could be granted now.
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        let calls = self.calls.sum(now);
        let earned = u128::from(calls) * u128::from(self.ratio_billionths) / SCALE as u128;
        let allowed = u64::try_from(earned).unwrap_or(u64::MAX).saturating_add(self.reserve);
        allowed.saturating_sub(self.sent.sum(now)).saturating_sub(self.pending)
    }

    /// Grants a repeat if there is one left. It counts from here on, until ten seconds after it was sent.
    pub(super) fn reserve(&mut self, now: Instant) -> bool {
        let granted = self.left(now) > 0;
        self.pending += u64::from(granted);
        granted
    }

    /// A granted repeat is being sent.
    pub(super) fn spend(&mut self, now: Instant) {
        self.give_back();
        self.sent.add(1, now);
    }

    /// A granted repeat will not be sent.
    pub(super) fn give_back(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }
}

/// The nearest number of billionths where the ratio is meant as one (0.1 is not quite 0.1 in binary), else the next below.
fn billionths(ratio: f64) -> u64 {
    let scaled = ratio * SCALE;
    let near = scaled.round();
    let meant = (scaled - near).abs() <= near * 1e-12;
    (if meant { near } else { scaled.floor() }) as u64
}

/// Which of a bucket's times decides when it leaves.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    /// The first: what it holds never counts too long.
    First,
    /// The last: what it holds never counts too short.
    Last,
}

/// How many events lie in the last ten seconds.
#[derive(Debug)]
struct Window {
    stamp: Stamp,
    buckets: VecDeque<Bucket>,
    sum: u64,
}

#[derive(Debug)]
struct Bucket {
    first: Instant,
    last: Instant,
    count: u64,
}

impl Window {
    fn new(stamp: Stamp) -> Self {
        Self { stamp, buckets: VecDeque::with_capacity(BUCKETS), sum: 0 }
    }

    /// Adds events at `at`; times that run backwards, as those of two threads may by a hair, are taken as the latest known.
    fn add(&mut self, count: u64, at: Instant) {
        if count == 0 {
            return;
        }
        self.expire(at);
        self.sum = self.sum.saturating_add(count);
        match self.buckets.back_mut() {
            Some(bucket) if at.saturating_duration_since(bucket.first) < GRANULE => {
                bucket.last = bucket.last.max(at);
                bucket.count = bucket.count.saturating_add(count);
            }
            _ => self.buckets.push_back(Bucket { first: at, last: at, count }),
        }
    }

    fn sum(&mut self, now: Instant) -> u64 {
        self.expire(now);
        self.sum
    }

    fn expire(&mut self, now: Instant) {
        while let Some(bucket) = self.buckets.front() {
            let stamp = match self.stamp {
                Stamp::First => bucket.first,
                Stamp::Last => bucket.last,
            };
            if now.saturating_duration_since(stamp) < WINDOW {
                return;
            }
            self.sum = self.sum.saturating_sub(bucket.count);
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
