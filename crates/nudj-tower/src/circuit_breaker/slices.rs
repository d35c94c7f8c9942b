//! The calls of the last stretch of time, in ten slices, in four rows so that threads do not meet.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::{rules::Tally, state::Tick};

const SLICES: usize = 10;
/// As many as there are threads that call at once on a usual machine; more only cost memory and a longer sum.
const ROWS: usize = 4;

/// Counts of the last ten slices of time. A record is O(1) and touches this thread's row only, the memory is fixed.
#[derive(Debug)]
pub(super) struct TimeSlices {
    /// Nanoseconds.
    width: u64,
    /// One more than the newest slice that was looked at with enough calls in it, or 0. In that slice nothing but a failure or a
    /// slow call, each looked at itself, can raise a rate: no call leaves the window before the next slice begins.
    evaluated: AtomicU64,
    rows: [Row; ROWS],
}

/// On cache lines of its own: the neighbour's counts must not slow this thread down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    generation: u64,
    slices: [Slice; SLICES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice since the beginning of time; the counts belong to it alone.
    index: u64,
    tally: Tally,
}

impl Counted {
    fn add(&mut self, index: u64, failed: bool, slow: bool) {
        let slice = &mut self.slices[(index % SLICES as u64) as usize];
        if slice.index < index {
            *slice = Slice { index, tally: Tally::default() };
        } else if slice.index > index {
            // A thread slept for a whole window between its clock and here.
            return;
        }
        slice.tally.calls += 1;
        slice.tally.failed += u64::from(failed);
        slice.tally.slow += u64::from(slow);
    }
}

impl TimeSlices {
    pub(super) fn new(window: Duration) -> Self {
        let width = u64::try_from(window.as_nanos() / SLICES as u128).unwrap_or(u64::MAX).max(1);
        Self { width, evaluated: AtomicU64::new(0), rows: Default::default() }
    }

    fn index(&self, now: Tick) -> u64 {
        now.0 / self.width
    }

    fn row(&self) -> &Row {
        &self.rows[thread_number() % ROWS]
    }

    /// Counts a success; whether that is all there is to do. If not, the window must be evaluated.
    #[inline]
    pub(super) fn record_success(&self, generation: u64, now: Tick) -> bool {
        let index = self.index(now);
        let mut row = self.row().0.lock();
        if row.generation != generation {
            return true;
        }
        row.add(index, false, false);
        drop(row);
        self.evaluated.load(Ordering::Acquire) > index
    }

    /// Counts any end. With the breaker's lock held.
    pub(super) fn record(&self, generation: u64, now: Tick, failed: bool, slow: bool) {
        let mut row = self.row().0.lock();
        if row.generation == generation {
            row.add(self.index(now), failed, slow);
        }
    }

    /// What the window holds, of all threads at one moment. With the breaker's lock held.
    pub(super) fn evaluate(&self, now: Tick, minimum_calls: u64) -> Tally {
        let index = self.index(now);
        let tally = self.tally(now);
        if tally.calls >= minimum_calls {
            self.evaluated.fetch_max(index.saturating_add(1), Ordering::Release);
        }
        tally
    }

    pub(super) fn tally(&self, now: Tick) -> Tally {
        let rows = self.rows.each_ref().map(|row| row.0.lock());
        let slices = || rows.iter().flat_map(|row| &row.slices);
        // This thread's clock may be behind what others have counted: the window ends with the newest slice.
        let newest = slices().map(|slice| slice.index).fold(self.index(now), u64::max);
        let mut sum = Tally::default();
        for slice in slices().filter(|slice| newest - slice.index < SLICES as u64) {
            sum.calls += slice.tally.calls;
            sum.failed += slice.tally.failed;
            sum.slow += slice.tally.slow;
        }
        sum
    }

    /// Forgets all and counts for `generation` from now on. With the breaker's lock held.
    pub(super) fn clear(&self, generation: u64) {
        for row in &self.rows {
            *row.0.lock() = Counted { generation, ..Counted::default() };
        }
        self.evaluated.store(0, Ordering::Release);
    }
}

/// A small number for this thread.
#[inline]
pub(super) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER
        .try_with(|number| {
            if number.get() == usize::MAX {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed) % usize::MAX);
            }
            number.get()
        })
        .unwrap_or(0)
}
