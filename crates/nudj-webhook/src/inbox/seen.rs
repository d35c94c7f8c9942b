//! The ids seen lately, in bounded memory: the algorithm, without clock or lock.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest as _, Sha256};

/// 128 bits of the id's digest: the same size for every id, and nobody can make two ids fall together.
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(kind: u8, text: &str) -> Fingerprint {
    let digest = Sha256::new().chain_update([kind]).chain_update(text.as_bytes()).finalize();
    std::array::from_fn(|index| digest[index])
}

/// Whether an id may be taken as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Fresh,
    Seen,
    /// No room, and the oldest is too young to go.
    Full,
}

/// Ids with the time they came. All times are milliseconds. A clock that goes back goes on from where it was here, and one that is set right
/// afterwards is believed again: ids that came meanwhile live as long as others.
#[derive(Debug)]
pub(super) struct Seen {
    ids: HashSet<Fingerprint>,
    /// The same, oldest first, also by time: no time is later than the next.
    order: VecDeque<(i64, Fingerprint)>,
    capacity: usize,
    retention: i64,
    floor: i64,
    /// How far the clock is behind the newest id, since it was set back.
    behind: i64,
}

impl Seen {
    pub(super) fn new(capacity: usize, retention: i64, floor: i64) -> Self {
        Self { ids: HashSet::new(), order: VecDeque::new(), capacity, retention, floor, behind: 0 }
    }

    /// Looks `id` up, and makes room for it if it is new.
    pub(super) fn look(&mut self, id: &Fingerprint, now: i64) -> Look {
        let now = self.time(now);
        self.expire(now);
        if self.ids.contains(id) {
            return Look::Seen;
        }
        if self.ids.len() < self.capacity {
            return Look::Fresh;
        }
        match self.order.front() {
            Some((came, _)) if now.saturating_sub(*came) > self.floor => {
                self.drop_oldest();
                Look::Fresh
            }
            _ => Look::Full,
        }
    }

    /// Notes that `id` came.
    pub(super) fn insert(&mut self, id: Fingerprint, now: i64) {
        let came = self.time(now);
        if self.ids.insert(id) {
            self.order.push_back((came, id));
        }
    }

    /// The time here, when the clock shows `now`: never before the newest id.
    fn time(&mut self, now: i64) -> i64 {
        let newest = self.order.back().map_or(i64::MIN, |(came, _)| *came);
        self.behind = if now >= newest { 0 } else { self.behind.max(newest.saturating_sub(now)) };
        now.saturating_add(self.behind)
    }

    fn expire(&mut self, now: i64) {
        while self.order.front().is_some_and(|(came, _)| now.saturating_sub(*came) > self.retention) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u32) -> Fingerprint {
        fingerprint(0, &number.to_string())
    }

    #[test]
    fn id_is_seen_for_the_retention_and_then_forgotten() {
        let mut seen = Seen::new(10, 1000, 100);
        assert_eq!(seen.look(&id(1), 0), Look::Fresh);
        seen.insert(id(1), 0);
        assert_eq!(seen.look(&id(1), 1000), Look::Seen);
        assert_eq!(seen.look(&id(1), 1001), Look::Fresh);
    }

    #[test]
    fn full_store_drops_the_oldest_only_when_it_is_past_the_floor() {
        let mut seen = Seen::new(2, 1000, 100);
        seen.insert(id(1), 0);
        seen.insert(id(2), 50);
        assert_eq!(seen.look(&id(3), 100), Look::Full);
        assert_eq!(seen.look(&id(1), 100), Look::Seen);
        assert_eq!(seen.look(&id(3), 101), Look::Fresh);
        seen.insert(id(3), 101);
        assert_eq!(seen.look(&id(1), 101), Look::Full, "1 made room for 3");
        assert_eq!(seen.look(&id(2), 101), Look::Seen);
    }

    #[test]
    fn ids_that_came_while_the_clock_was_ahead_count_from_its_return() {
        const AHEAD: i64 = 1_000_000_000;
        let mut seen = Seen::new(6, 1000, 100);
        seen.insert(id(0), 0);
        for number in 1..=3 {
            assert_eq!(seen.look(&id(number), AHEAD), Look::Fresh);
            seen.insert(id(number), AHEAD);
        }
        for number in 4..=6 {
            assert_eq!(seen.look(&id(number), 10), Look::Fresh);
            seen.insert(id(number), 10);
        }
        assert_eq!(seen.look(&id(7), 110), Look::Full, "none is past the floor");
        assert_eq!(seen.look(&id(7), 111), Look::Fresh, "1 made room for 7");
        seen.insert(id(7), 111);
        for number in 2..=6 {
            assert_eq!(seen.look(&id(number), 1010), Look::Seen, "{number}");
        }
        for number in 1..=6 {
            assert_eq!(seen.look(&id(number), 1011), Look::Fresh, "{number}");
        }
        assert_eq!(seen.look(&id(7), 1111), Look::Seen);
    }

    #[test]
    fn id_that_is_noted_last_and_came_before_hides_none_that_came_while_the_clock_was_ahead() {
        let mut seen = Seen::new(10, 1000, 100);
        assert_eq!(seen.look(&id(1), 5), Look::Fresh);
        seen.insert(id(2), 1_000_000_000);
        seen.insert(id(1), 5);
        assert_eq!([seen.look(&id(2), 10), seen.look(&id(1), 10)], [Look::Seen; 2]);
        assert_eq!([seen.look(&id(2), 1005), seen.look(&id(1), 1005)], [Look::Seen; 2]);
        assert_eq!([seen.look(&id(2), 1006), seen.look(&id(1), 1006)], [Look::Fresh; 2]);
    }

    #[test]
    fn clock_that_is_set_back_and_then_right_again_forgets_nothing_early() {
        const NOW: i64 = 1_000_000_000;
        let mut seen = Seen::new(10, 1000, 100);
        seen.insert(id(1), NOW);
        assert_eq!(seen.look(&id(2), NOW - 500_000), Look::Fresh);
        seen.insert(id(2), NOW - 500_000);
        assert_eq!([1, 2].map(|number| seen.look(&id(number), NOW - 499_600)), [Look::Seen; 2]);
        assert_eq!([1, 2].map(|number| seen.look(&id(number), NOW + 1000)), [Look::Seen; 2]);
        assert_eq!([1, 2].map(|number| seen.look(&id(number), NOW + 1001)), [Look::Fresh; 2]);
    }

    #[test]
    fn kinds_do_not_fall_together() {
        assert_ne!(fingerprint(0, "a"), fingerprint(1, "a"));
    }

    proptest! {
        #[test]
        fn within_the_floor_no_id_is_fresh_twice_and_memory_is_bounded(
            steps in prop::collection::vec((0..20_u32, 0..80_i64), 1..400), capacity in 1..8_usize,
        ) {
            let mut seen = Seen::new(capacity, 500, 200);
            let mut accepted: HashMap<u32, i64> = HashMap::new();
            let mut now = 0;
            for (number, pause) in steps {
                now += pause;
                if seen.look(&id(number), now) == Look::Fresh {
                    if let Some(before) = accepted.insert(number, now) {
                        prop_assert!(now - before > 200, "{} again after {}", number, now - before);
                    }
                    seen.insert(id(number), now);
                }
                prop_assert!(seen.ids.len() <= capacity && seen.order.len() <= capacity);
            }
        }
    }
}
