//! Quota that is taken by one step on one word, without the limiter's lock.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::meter::Nanos;

/// So many calls that come before `until` may pass without asking: their quota is counted once the loan is [called in](Allowance::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loan {
    pub(super) calls: u32,
    /// When the granule begins that they count in.
    pub(super) since: Nanos,
    /// When it ends.
    pub(super) until: Nanos,
}

/// What a limiter has lent to all who come. Only who holds the limiter's lock opens and closes it.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// The number of the loan, and in the lower half how many calls are left of it.
    word: AtomicU64,
    since: AtomicU64,
    until: AtomicU64,
}

impl Allowance {
    /// Takes quota for one call that read `now` from the clock: since when it counts.
    #[inline]
    pub(super) fn take(&self, now: Nanos) -> Option<Nanos> {
        let mut word = self.word.load(Acquire);
        loop {
            // After the loan and before the step that takes of it. Should these be a later loan's, they were written after the one seen here was
            // called in, as whoever reads them sees as well: then the step fails.
            let (since, until) = (self.since.load(Acquire), self.until.load(Acquire));
            if left(word) == 0 || now >= until {
                return None;
            }
            match self.word.compare_exchange_weak(word, word - 1, Relaxed, Acquire) {
                Ok(_) => return Some(since),
                Err(seen) => word = seen,
            }
        }
    }

    /// Calls the loan in: how many calls are left of it.
    pub(super) fn close(&self) -> u32 {
        left(self.word.fetch_and(!u64::from(u32::MAX), Relaxed))
    }

    /// Lends anew, after the loan before was called in.
    pub(super) fn open(&self, loan: Loan) {
        self.since.store(loan.since, Release);
        self.until.store(loan.until, Release);
        let number = (self.word.load(Relaxed) >> u32::BITS).wrapping_add(1);
        self.word.store(number << u32::BITS | u64::from(loan.calls), Release);
    }
}

fn left(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use std::{hint::spin_loop, thread};

    use super::*;

    fn loan(calls: u32, since: Nanos, until: Nanos) -> Loan {
        Loan { calls, since, until }
    }

    #[test]
    fn as_many_as_were_lent_pass_before_the_loan_ends() {
        let allowance = Allowance::default();
        assert_eq!(allowance.take(0), None);
        allowance.open(loan(3, 5, 10));
        assert_eq!((allowance.take(0), allowance.take(9), allowance.take(10)), (Some(5), Some(5), None));
        assert_eq!((allowance.close(), allowance.close(), allowance.take(0)), (1, 0, None));
        allowance.open(loan(1, 10, 20));
        assert_eq!((allowance.take(10), allowance.take(10), allowance.close()), (Some(10), None, 0));
        let words = [loan(2, 20, 30), loan(2, 20, 30)].map(|loan| {
            allowance.open(loan);
            allowance.word.load(Relaxed)
        });
        assert_ne!(words[0], words[1], "who saw the first cannot take of the second by its end");
    }

    #[test]
    fn whoever_comes_while_loans_change_takes_of_the_loan_that_he_is_told_of() {
        const LOANS: usize = 2_000;
        let allowance = Allowance::default();
        let (lent, taken) = thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        // A loan's beginning says which it is, and one that ended before this is not taken of.
                        let (mut taken, mut now) = (vec![0u32; LOANS + 1], 0);
                        loop {
                            match allowance.take(now) {
                                Some(number) => {
                                    taken[number as usize] += 1;
                                    now = number;
                                }
                                None if allowance.until.load(Relaxed) > LOANS as u64 + 1 => return taken,
                                None => spin_loop(),
                            }
                        }
                    })
                })
                .collect();
            let mut lent = vec![0u32; LOANS + 1];
            for (number, taken) in lent.iter_mut().enumerate().skip(1) {
                allowance.open(loan(5, number as u64, number as u64 + 1));
                // Of every hundredth something is taken for certain, however busy the machine is.
                while number % 100 == 0 && left(allowance.word.load(Relaxed)) == 5 {
                    thread::yield_now();
                }
                *taken = 5 - allowance.close();
            }
            allowance.open(loan(0, 0, LOANS as u64 + 2));
            let mut taken = vec![0u32; LOANS + 1];
            for taker in takers {
                taken.iter_mut().zip(taker.join().unwrap()).for_each(|(sum, taken)| *sum += taken);
            }
            (lent, taken)
        });
        assert!(lent == taken, "of each as many as it was short of");
    }
}
