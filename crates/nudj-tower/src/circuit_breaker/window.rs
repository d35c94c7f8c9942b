//! The last N calls, as two rings of bits.

use super::rules::Tally;

const FAILED: usize = 0;
const SLOW: usize = 1;

/// The ends of the last `capacity` calls. A push is O(1), the memory fixed: two bits a call.
#[derive(Debug)]
pub(super) struct CountRing {
    /// One word of failures and one of slow calls for every 64 places.
    bits: Box<[[u64; 2]]>,
    capacity: u32,
    next: u32,
    tally: Tally,
}

impl CountRing {
    pub(super) fn new(capacity: u32) -> Self {
        let words = capacity.div_ceil(64) as usize;
        Self { bits: vec![[0; 2]; words].into_boxed_slice(), capacity, next: 0, tally: Tally::default() }
    }

    #[inline]
    pub(super) fn push(&mut self, failed: bool, slow: bool) {
        let Some(word) = self.bits.get_mut(self.next as usize / 64) else { return };
        let place = 1 << (self.next % 64);
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
        // Places not yet written hold zeros, so that taking the old bits out is right before the first round ends, too.
        replace(&mut word[FAILED], place, failed, &mut self.tally.failed);
        replace(&mut word[SLOW], place, slow, &mut self.tally.slow);
        if self.tally.calls < u64::from(self.capacity) {
            self.tally.calls += 1;
        }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether a success pushed now would change nothing: the ring is full of them.
    pub(super) fn is_quiet(&self) -> bool {
        self.tally.calls == u64::from(self.capacity) && self.tally.failed == 0 && self.tally.slow == 0
    }

    pub(super) fn clear(&mut self) {
        self.bits.fill([0; 2]);
        self.next = 0;
        self.tally = Tally::default();
    }
}

/// Sets or clears the bit at `place`. Mostly there is nothing to do, and then nothing is written.
#[inline]
fn replace(word: &mut u64, place: u64, is: bool, count: &mut u64) {
    let was = *word & place != 0;
    if was != is {
        *word ^= place;
        *count = if is { *count + 1 } else { *count - 1 };
    }
}
