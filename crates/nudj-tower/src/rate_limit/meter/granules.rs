use super::{Loan, Nanos, Rate};

/// A window touches at most this many granules of a 63rd of its length.
const GRANULES: usize = 64;

/// Counts per granule of time, for quotas whose log would be large. A call passes while the last 64 granules, which cover more than
/// any window that ends now, hold less than `max`.
#[derive(Clone, Debug)]
pub(in super::super) struct Granules {
    pub(super) rate: Rate,
    /// A granule's length.
    length: Nanos,
    /// A ring; the granule with number `n` stands at `n % 64`.
    counts: Box<[u32; GRANULES]>,
    /// The sum of `counts`.
    total: u32,
    /// The number of the newest granule in the ring.
    newest: u64,
}

impl Granules {
    pub(super) fn new(rate: Rate) -> Self {
        let length = rate.window.div_ceil(GRANULES as u64 - 1).max(1);
        Self { rate, length, counts: Box::new([0; GRANULES]), total: 0, newest: 0 }
    }

    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        self.turn_to(now);
        if self.total >= self.rate.max {
            return None;
        }
        self.record(now, 1);
        Some(now)
    }

    /// All that is left of the newest granule, until that ends.
    pub(super) fn lend(&self) -> Option<Loan> {
        let calls = self.rate.max.checked_sub(self.total).filter(|calls| *calls > 0)?;
        let since = self.newest.saturating_mul(self.length);
        Some(Loan { calls, since, until: since.saturating_add(self.length) })
    }

    /// Counts what was taken of a loan: nothing else was done since.
    pub(super) fn count(&mut self, taken: u32) {
        self.record(self.newest.saturating_mul(self.length), taken);
    }

    pub(super) fn give_back(&mut self, at: Nanos) {
        let number = self.number(at);
        if self.holds(number)
            && let Some(count) = self.counts.get_mut(slot(number))
            && let Some(less) = count.checked_sub(1)
        {
            *count = less;
            self.total = self.total.saturating_sub(1);
        }
    }

    pub(super) fn nth(&self, ahead: u64, from: Nanos) -> Nanos {
        let max = u64::from(self.rate.max);
        let (windows, place) = (ahead / max, ahead % max);
        let mut counted = u64::from(self.total);
        let mut at = 0;
        // From the oldest on, until so many granules have left that `place` calls and this one fit in.
        for number in (self.newest + 1).saturating_sub(GRANULES as u64)..=self.newest {
            if counted + place < max {
                break;
            }
            counted -= u64::from(self.counts[slot(number)]);
            at = number.saturating_add(GRANULES as u64).saturating_mul(self.length);
        }
        let first = at.max(from);
        if windows == 0 {
            return first;
        }
        // Those ahead leave the ring together with their granule.
        (first / self.length).saturating_add(windows.saturating_mul(GRANULES as u64)).saturating_mul(self.length)
    }

    pub(super) fn available(&self, now: Nanos) -> u32 {
        let newest = (now / self.length).max(self.newest);
        let oldest = (newest + 1).saturating_sub(GRANULES as u64);
        let counted: u32 = (oldest..=self.newest).map(|number| self.counts[slot(number)]).sum();
        self.rate.max.saturating_sub(counted)
    }

    /// Lets the granules that are too old at `now` go.
    pub(super) fn turn_to(&mut self, now: Nanos) {
        let number = self.number(now);
        if number.saturating_sub(self.newest) >= GRANULES as u64 {
            *self.counts = [0; GRANULES];
            self.total = 0;
        } else {
            for passed in self.newest + 1..=number {
                let count = &mut self.counts[slot(passed)];
                self.total = self.total.saturating_sub(*count);
                *count = 0;
            }
        }
        self.newest = self.newest.max(number);
    }

    /// Counts grants of now or before; those that are too old to matter are left out.
    pub(super) fn record(&mut self, at: Nanos, count: u32) {
        let number = self.number(at);
        if self.holds(number) {
            self.counts[slot(number)] = self.counts[slot(number)].saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }

    /// The grants known, oldest first, each at the last moment that it may have had, `now` being none before.
    pub(super) fn grants(&self, now: Nanos) -> impl Iterator<Item = (Nanos, u32)> + '_ {
        ((self.newest + 1).saturating_sub(GRANULES as u64)..=self.newest).map(move |number| {
            let last = (number + 1).saturating_mul(self.length).saturating_sub(1).min(now);
            (last, self.counts[slot(number)])
        })
    }

    /// Which granule `at` lies in: mostly the newest, which is found without a division.
    fn number(&self, at: Nanos) -> u64 {
        match at.checked_sub(self.newest * self.length) {
            Some(since) if since < self.length => self.newest,
            _ => at / self.length,
        }
    }

    fn holds(&self, number: u64) -> bool {
        number <= self.newest && self.newest - number < GRANULES as u64
    }
}

fn slot(number: u64) -> usize {
    (number % GRANULES as u64) as usize
}
