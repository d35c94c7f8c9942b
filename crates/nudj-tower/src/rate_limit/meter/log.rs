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
        Self { rate, times: VecDeque::with_capacity(room(rate, roomy)) }
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
        if self.times.len() == self.times.capacity() {
            self.let_go(now);
        }
        self.times.push_back(now);
        Some(now)
    }

    /// Drops what has left the window, so that the memory is that of the fullest window and not of all calls ever.
    #[cold]
    fn let_go(&mut self, now: Nanos) {
        while self.times.front().is_some_and(|time| now.saturating_sub(*time) >= self.rate.window) {
            self.times.pop_front();
        }
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
    pub(super) fn change(&mut self, rate: Rate, roomy: bool) {
        self.rate = rate;
        self.times.reserve(room(rate, roomy).saturating_sub(self.times.len()));
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

fn room(rate: Rate, roomy: bool) -> usize {
    if roomy { rate.max as usize } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn log(max: u32) -> Log {
        Log::new(Rate { max, window: 1_000 * MS }, false)
    }

    #[test]
    fn its_memory_is_that_of_its_fullest_window_however_many_calls_it_has_seen() {
        let mut log = log(1024);
        for call in 0..20_000 {
            assert!(log.take(call * 100 * MS).is_some());
        }
        assert!(log.times.capacity() <= 20, "ten in a window: {}", log.times.capacity());
        let burst = (0..300).filter(|_| log.take(20_000 * 100 * MS).is_some()).count();
        assert!(burst == 300 && (300..=640).contains(&log.times.capacity()), "{}", log.times.capacity());
    }

    #[test]
    fn a_larger_quota_alone_takes_no_memory() {
        let mut log = log(10);
        log.take(0);
        let before = log.times.capacity();
        log.change(Rate { max: 1024, window: 1_000 * MS }, false);
        assert_eq!(log.times.capacity(), before);
        log.change(Rate { max: 1024, window: 1_000 * MS }, true);
        assert!(log.times.capacity() >= 1024, "all it will need, where a grant is not to allocate");
    }
}
