//! Which records are settled, and from where on nothing was started: plain values, no file and no clock.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Record numbers count from 0. Everything below `settled_until` is settled; a bounded window above it may be, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    settled_until: u64,
    beyond: VecDeque<bool>,
}

/// What a checkpoint says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settled {
    /// All records below this one are settled.
    pub(super) until: u64,
    /// And these, from and to (exclusive).
    pub(super) beyond: Vec<(u64, u64)>,
}

impl Progress {
    /// `None` when the ranges are out of order or further out than `most` records.
    pub(super) fn restore(settled: &Settled, most: u64) -> Option<Self> {
        let mut progress = Self { settled_until: settled.until, beyond: VecDeque::new() };
        let mut last = settled.until;
        for &(from, to) in &settled.beyond {
            // A range that begins at the watermark would have moved it.
            if from <= last || to <= from || to - settled.until > most {
                return None;
            }
            (from..to).for_each(|number| progress.settle(number));
            last = to;
        }
        Some(progress)
    }

    /// The first record that is not settled.
    pub(super) fn settled_until(&self) -> u64 {
        self.settled_until
    }

    /// The record after the last that is settled.
    pub(super) fn reached(&self) -> u64 {
        self.settled_until.saturating_add(self.beyond.len() as u64)
    }

    pub(super) fn is_settled(&self, number: u64) -> bool {
        match number.checked_sub(self.settled_until) {
            None => true,
            Some(offset) => usize::try_from(offset).ok().and_then(|at| self.beyond.get(at)).copied().unwrap_or(false),
        }
    }

    /// The caller keeps `number` within its window above `settled_until`, which bounds the memory.
    pub(super) fn settle(&mut self, number: u64) {
        let Some(offset) = number.checked_sub(self.settled_until).and_then(|offset| usize::try_from(offset).ok())
        else {
            return;
        };
        if self.beyond.len() <= offset {
            self.beyond.resize(offset.saturating_add(1), false);
        }
        if let Some(place) = self.beyond.get_mut(offset) {
            *place = true;
        }
        while self.beyond.front() == Some(&true) {
            self.beyond.pop_front();
            self.settled_until = self.settled_until.saturating_add(1);
        }
    }

    pub(super) fn snapshot(&self) -> Settled {
        let mut beyond: Vec<(u64, u64)> = Vec::new();
        for (number, settled) in (self.settled_until..).zip(&self.beyond) {
            match beyond.last_mut() {
                _ if !settled => {}
                Some((_, to)) if *to == number => *to += 1,
                _ => beyond.push((number, number + 1)),
            }
        }
        Settled { until: self.settled_until, beyond }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_order_of_settling_gives_the_same_as_a_set(
            order in proptest::sample::subsequence((0_u64..60).collect::<Vec<_>>(), 0..60).prop_shuffle()
        ) {
            let mut progress = Progress::default();
            for &number in &order {
                progress.settle(number);
                progress.settle(number);
            }
            for number in 0..70 {
                prop_assert_eq!(progress.is_settled(number), order.contains(&number), "{}", number);
            }
            let first = (0..).find(|number| !order.contains(number)).unwrap();
            prop_assert_eq!(progress.settled_until(), first);
            prop_assert_eq!(progress.reached(), order.iter().max().map_or(0, |last| last + 1));
            let restored = Progress::restore(&progress.snapshot(), 100).unwrap();
            for number in 0..70 {
                prop_assert_eq!(restored.is_settled(number), progress.is_settled(number));
            }
        }
    }

    #[test]
    fn ranges_that_no_run_can_have_written_are_refused() {
        for beyond in
            [vec![(3, 3)], vec![(5, 4)], vec![(2, 4)], vec![(4, 6), (5, 7)], vec![(9, 8), (3, 4)], vec![(3, 900)]]
        {
            assert_eq!(Progress::restore(&Settled { until: 2, beyond: beyond.clone() }, 100), None, "{beyond:?}");
        }
    }
}
