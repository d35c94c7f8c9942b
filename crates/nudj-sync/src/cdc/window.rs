//! What is under way: order within a key, many keys at once, and how far everything is settled. Plain values only.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A place in the window.
pub(super) type Ticket = u64;

/// Items in the order of the stream. Of each key one is under way at a time, the oldest; a position is reached when all before
/// it are settled.
#[derive(Debug)]
pub(super) struct Window<K, T, P> {
    /// The ticket of `slots[0]`.
    first: Ticket,
    slots: VecDeque<Slot<K, T, P>>,
    lanes: HashMap<K, VecDeque<Ticket>>,
    ready: VecDeque<Ticket>,
    /// Slots that are no marks.
    items: usize,
}

#[derive(Debug)]
struct Slot<K, T, P> {
    key: Option<K>,
    item: Option<T>,
    position: Option<P>,
    settled: bool,
}

impl<K: Clone + Eq + Hash, T, P> Window<K, T, P> {
    pub(super) fn new() -> Self {
        Self { first: 0, slots: VecDeque::new(), lanes: HashMap::new(), ready: VecDeque::new(), items: 0 }
    }

    /// How many items are not yet behind the reached position.
    pub(super) fn len(&self) -> usize {
        self.items
    }

    pub(super) fn holds(&self, key: &K) -> bool {
        self.lanes.contains_key(key)
    }

    pub(super) fn push(&mut self, key: K, item: T, position: Option<P>) {
        let ticket = self.first.saturating_add(self.slots.len() as u64);
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.push_back(ticket);
        if lane.len() == 1 {
            self.ready.push_back(ticket);
        }
        self.items += 1;
        self.slots.push_back(Slot { key: Some(key), item: Some(item), position, settled: false });
    }

    /// A position with nothing to do for it, reached when all before it is settled. Of several in a row the last is kept, so that they
    /// do not pile up behind an item that is stuck.
    pub(super) fn mark(&mut self, position: P) {
        if let Some(mark) = self.slots.back_mut().filter(|slot| slot.key.is_none()) {
            mark.position = Some(position);
            return;
        }
        self.slots.push_back(Slot { key: None, item: None, position: Some(position), settled: true });
    }

    /// The oldest item that may start now.
    pub(super) fn start(&mut self) -> Option<(Ticket, T)> {
        while let Some(ticket) = self.ready.pop_front() {
            if let Some(item) = self.slot(ticket).and_then(|slot| slot.item.take()) {
                return Some((ticket, item));
            }
        }
        None
    }

    /// An item that was started has come to its end; the next of its key may start.
    pub(super) fn settle(&mut self, ticket: Ticket) {
        let Some(slot) = self.slot(ticket) else { return };
        if slot.settled || slot.item.is_some() {
            return;
        }
        slot.settled = true;
        let Some(key) = slot.key.clone() else { return };
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.pop_front();
        match lane.front() {
            Some(next) => self.ready.push_back(*next),
            None => drop(self.lanes.remove(&key)),
        }
    }

    /// Lets go of what is settled, up to the first that is not; the farthest position reached that way.
    pub(super) fn reach(&mut self) -> Option<P> {
        let mut reached = None;
        while self.slots.front().is_some_and(|slot| slot.settled) {
            if let Some(slot) = self.slots.pop_front() {
                self.first = self.first.saturating_add(1);
                self.items = self.items.saturating_sub(usize::from(slot.key.is_some()));
                reached = slot.position.or(reached);
            }
        }
        reached
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut Slot<K, T, P>> {
        let index = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn position_waits_for_the_slowest_before_it() {
        let mut window = Window::new();
        window.push("a", 1, Some(1));
        window.push("b", 2, Some(2));
        let (a, _) = window.start().unwrap();
        let (b, _) = window.start().unwrap();
        window.settle(b);
        assert_eq!(window.reach(), None);
        window.settle(a);
        assert_eq!(window.reach(), Some(2));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn mark_is_reached_with_nothing_to_do() {
        let mut window = Window::<&str, (), _>::new();
        window.mark(7);
        assert_eq!(window.reach(), Some(7));
    }

    #[test]
    fn marks_behind_one_that_is_stuck_take_one_place() {
        let mut window = Window::new();
        window.push("a", (), Some(0));
        (1..=1000).for_each(|at| window.mark(at));
        assert_eq!(window.slots.len(), 2);
        let (a, ()) = window.start().unwrap();
        window.settle(a);
        assert_eq!(window.reach(), Some(1000));
    }

    proptest! {
        /// Whatever ends when: order within a key, nothing passed over, nothing twice.
        #[test]
        fn order_within_a_key_and_no_position_before_its_time(
            keys in proptest::collection::vec(0_u8..5, 0..60),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 300),
        ) {
            let mut window = Window::new();
            let mut waiting: VecDeque<(usize, u8)> = keys.iter().copied().enumerate().collect();
            let mut running: Vec<(Ticket, (usize, u8))> = Vec::new();
            let mut done = vec![false; keys.len()];
            let mut last: HashMap<u8, usize> = HashMap::new();
            let mut reached = None;
            for pick in picks {
                match pick.index(3) {
                    0 => if let Some((at, key)) = waiting.pop_front() { window.push(key, (at, key), Some(at)) },
                    1 => if let Some((ticket, (at, key))) = window.start() {
                        prop_assert!(!running.iter().any(|(_, (_, other))| *other == key), "two of one key");
                        prop_assert!(last.insert(key, at).is_none_or(|before| before < at), "out of order");
                        running.push((ticket, (at, key)));
                    },
                    _ => if !running.is_empty() {
                        let (ticket, (at, _)) = running.swap_remove(pick.index(running.len()));
                        window.settle(ticket);
                        done[at] = true;
                    },
                }
                if let Some(position) = window.reach() {
                    prop_assert!(done[..=position].iter().all(|done| *done), "position {position} too early");
                    prop_assert!(reached.is_none_or(|before| before < position));
                    reached = Some(position);
                }
            }
            // The rest, one after the other: all of it ends.
            while let Some((at, key)) = waiting.pop_front() { window.push(key, (at, key), Some(at)); }
            loop {
                for (ticket, _) in running.drain(..) { window.settle(ticket); }
                match window.start() { Some(next) => running.push(next), None => break }
            }
            if let Some(position) = window.reach() { reached = Some(position); }
            prop_assert_eq!(reached, keys.len().checked_sub(1));
            prop_assert_eq!(window.len(), 0);
        }
    }
}
