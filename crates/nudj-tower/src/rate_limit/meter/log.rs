use std::collections::VecDeque;

use super::{LOG_MAX, Nanos, Rate};

/// The times of the last `max` grants. A call passes when the one `max` before it lies a whole window back, so no window of
/// that length, wherever it starts, holds more than `max`.
#[derive(Clone, Debug)]
pub(in super::super) struct Log {
    pub(super) rate: Rate,
    /// Oldest first. No more than `max`, but for those of a larger quota that it had before; never more than [`LOG_MAX`].
    times: VecDeque<Nanos>,
}

impl Log {
    pub(super) fn new(rate: Rate, roomy: bool) -> Self {
        Self { rate, times: if roomy { VecDeque::with_capacity(rate.max as usize) } else { VecDeque::new() } }
    }

    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        if let Some(place) = self.times.len().checked_sub(self.rate.max as usize) {
            let before = self.times.get(place)?;
            if now.saturating_sub(*before) < self.rate.window {
                return None;
            }
            // It and those before it have left the window.
            self.times.drain(..=place);
        }
        self.times.push_back(now);
        Some(now)
    }

    pub(super) fn give_back(&mut self, at: Nanos) {
        let after = self.times.partition_point(|time| *time <= at);
        if let Some(index) = after.checked_sub(1)
            && self.times.get(index) == Some(&at)
        {
            self.times.remove(index);
        }
    }

    pub(super) fn nth(&self, ahead: u64, from: Nanos) -> Nanos {
        let max = u64::from(self.rate.max);
        let (windows, place) = (ahead / max, ahead % max);
        // The grant `max` before this one, where the log knows it.
        let before =
            (self.times.len() as u64 + place).checked_sub(max).and_then(|index| self.times.get(index as usize));
        let first = before.map_or(from, |time| time.saturating_add(self.rate.window).max(from));
        first.saturating_add(windows.saturating_mul(self.rate.window))
    }

    pub(super) fn available(&self, now: Nanos) -> u32 {
        let past = self.times.partition_point(|time| now.saturating_sub(*time) >= self.rate.window);
        let counted = self.times.len() - past;
        self.rate.max.saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    /// Forgets nothing: what is given back later must not make room that another grant of this window takes.
    pub(super) fn change(&mut self, rate: Rate) {
        self.rate = rate;
        self.times.reserve((rate.max as usize).saturating_sub(self.times.len()));
    }

    /// Counts grants of before, none before the last.
    pub(super) fn record(&mut self, at: Nanos, count: u32) {
        for _ in 0..count.min(LOG_MAX) {
            if self.times.len() >= LOG_MAX as usize {
                self.times.pop_front();
            }
            self.times.push_back(at);
        }
    }

    /// The times known, oldest first.
    pub(super) fn grants(&self) -> impl Iterator<Item = Nanos> + '_ {
        self.times.iter().copied()
    }
}
