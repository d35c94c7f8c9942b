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

    pub(super) fn push(&mut self, failed: bool, slow: bool) {
        let Some(word) = self.bits.get_mut(self.next as usize / 64) else { return };
        let shift = self.next % 64;
        // Places not yet written hold zeros, so that taking the old bits out is right before the first round ends, too.
        let was = [(word[FAILED] >> shift) & 1, (word[SLOW] >> shift) & 1];
        let is = [u64::from(failed), u64::from(slow)];
        word[FAILED] ^= (was[FAILED] ^ is[FAILED]) << shift;
        word[SLOW] ^= (was[SLOW] ^ is[SLOW]) << shift;
        self.tally.failed = self.tally.failed + is[FAILED] - was[FAILED];
        self.tally.slow = self.tally.slow + is[SLOW] - was[SLOW];
        self.tally.calls += u64::from(!self.is_full());
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    fn is_full(&self) -> bool {
        self.tally.calls == u64::from(self.capacity)
    }

    /// Whether a success pushed now would change nothing: the ring is full of them.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_full() && self.tally.failed == 0 && self.tally.slow == 0
    }

    pub(super) fn clear(&mut self) {
        self.bits.fill([0; 2]);
        self.next = 0;
        self.tally = Tally::default();
    }
}
