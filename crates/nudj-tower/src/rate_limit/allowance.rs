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
    pub(super) until: Nanos,
}

/// What a limiter has lent to all who come. Only who holds the limiter's lock opens and closes it.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// The number of the loan, and in the lower half how many calls are left of it.
    word: AtomicU64,
    until: AtomicU64,
}

impl Allowance {
    /// Takes quota for one call that read `now` from the clock: the latest time that the grant may have had.
    #[inline]
    pub(super) fn take(&self, now: Nanos) -> Option<Nanos> {
        // First the loan, then its end: should the end be a later loan's, the loan is not there any more and the step below fails.
        let mut word = self.word.load(Acquire);
        loop {
            if left(word) == 0 {
                return None;
            }
            let until = self.until.load(Relaxed);
            if now >= until {
                return None;
            }
            match self.word.compare_exchange_weak(word, word - 1, Relaxed, Acquire) {
                Ok(_) => return Some(until - 1),
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
        self.until.store(loan.until, Relaxed);
        let number = (self.word.load(Relaxed) >> u32::BITS).wrapping_add(1);
        self.word.store(number << u32::BITS | u64::from(loan.calls), Release);
    }
}

fn left(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn as_many_as_were_lent_pass_before_the_loan_ends() {
        let allowance = Allowance::default();
        assert_eq!(allowance.take(0), None);
        allowance.open(Loan { calls: 3, until: 10 });
        assert_eq!((allowance.take(0), allowance.take(9), allowance.take(10)), (Some(9), Some(9), None));
        assert_eq!((allowance.close(), allowance.close(), allowance.take(0)), (1, 0, None));
        allowance.open(Loan { calls: 1, until: 20 });
        assert_eq!((allowance.take(10), allowance.take(10), allowance.close()), (Some(19), None, 0));
        let loan = Loan { calls: 2, until: 30 };
        let words = [loan, loan].map(|loan| {
            allowance.open(loan);
            allowance.word.load(Relaxed)
        });
        assert_ne!(words[0], words[1], "who saw the first cannot take of the second by its end");
    }

    #[test]
    fn whoever_comes_while_loans_change_takes_of_one_that_has_not_ended_and_none_is_lost() {
        const LOANS: u64 = 2_000;
        let allowance = Allowance::default();
        let (lent, taken) = thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut taken = 0u32;
                        // A loan's end says which it is, and the last is left to be taken whole.
                        let mut now = 0;
                        while now < LOANS {
                            match allowance.take(now) {
                                Some(at) => {
                                    assert!(at >= now, "of a loan that had ended");
                                    taken += 1;
                                    now = at;
                                }
                                None if allowance.until.load(Relaxed) > LOANS => break,
                                None => thread::yield_now(),
                            }
                        }
                        taken
                    })
                })
                .collect();
            let mut lent = 0;
            for number in 1..=LOANS {
                allowance.open(Loan { calls: 5, until: number });
                if number % 3 == 0 {
                    thread::yield_now();
                }
                lent += 5 - allowance.close();
            }
            allowance.open(Loan { calls: 0, until: LOANS + 1 });
            (lent, takers.into_iter().map(|taker| taker.join().unwrap()).sum::<u32>())
        });
        assert_eq!(lent, taken);
    }
}
