//! Those who wait, first-in first-out: a list in a slab, so that any of them leaves in constant time and memory is bounded by
//! how many wait, not by how many came and went.

use std::task::Waker;

use super::{meter::Grant, patience::Bounds, refusal::Refusal};

/// A place in the queue; good until it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(usize);

/// What a place holds.
#[derive(Debug)]
pub(super) enum Place {
    /// Waits for its turn.
    Waiting(Bounds),
    /// Was let through and has not noticed yet.
    Granted(Grant),
    /// Was refused and has not noticed yet.
    Refused(Refusal),
    /// Nobody's.
    Free,
}

#[derive(Debug)]
struct Node {
    place: Place,
    waker: Option<Waker>,
    before: Option<usize>,
    /// The next in line; for a free node, the next free one.
    after: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    nodes: Vec<Node>,
    first: Option<usize>,
    last: Option<usize>,
    free: Option<usize>,
    len: usize,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody has a place, not even one that was let through and has not noticed.
    pub(super) fn is_unused(&self) -> bool {
        self.nodes.iter().all(|node| matches!(node.place, Place::Free))
    }

    /// The first of those who wait, and until when it may.
    pub(super) fn first(&self) -> Option<(Ticket, Bounds)> {
        let index = self.first?;
        match self.nodes.get(index)?.place {
            Place::Waiting(bounds) => Some((Ticket(index), bounds)),
            _ => None,
        }
    }

    pub(super) fn join(&mut self, bounds: Bounds, waker: Waker) -> Ticket {
        let node = Node { place: Place::Waiting(bounds), waker: Some(waker), before: self.last, after: None };
        let index = match self.free {
            Some(index) => {
                self.free = self.nodes[index].after;
                self.nodes[index] = node;
                index
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        match self.last {
            Some(last) => self.nodes[last].after = Some(index),
            None => self.first = Some(index),
        }
        self.last = Some(index);
        self.len += 1;
        Ticket(index)
    }

    /// Takes a waiter out of the line and leaves it word; whom to wake.
    pub(super) fn serve(&mut self, ticket: Ticket, word: Place) -> Option<Waker> {
        self.unlink(ticket.0);
        let node = self.nodes.get_mut(ticket.0)?;
        node.place = word;
        node.waker.take()
    }

    /// The word left at a place, which is then given up; `None`, and `waker` kept, while it still waits.
    pub(super) fn collect(&mut self, ticket: Ticket, waker: &Waker) -> Option<Place> {
        let node = self.nodes.get_mut(ticket.0)?;
        if let Place::Waiting(_) = node.place {
            match &mut node.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return None;
        }
        Some(self.release(ticket))
    }

    /// Gives a place up, whatever it holds.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Place {
        if self.nodes.get(ticket.0).is_some_and(|node| matches!(node.place, Place::Waiting(_))) {
            self.unlink(ticket.0);
        }
        self.release(ticket)
    }

    /// The waker of one who waits; it stays there for the next time.
    pub(super) fn waker(&self, ticket: Ticket) -> Option<Waker> {
        self.nodes.get(ticket.0)?.waker.clone()
    }

    /// All who wait, in line.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Ticket, Bounds)> + '_ {
        std::iter::successors(self.first, |index| self.nodes.get(*index)?.after).filter_map(|index| {
            match self.nodes.get(index)?.place {
                Place::Waiting(bounds) => Some((Ticket(index), bounds)),
                _ => None,
            }
        })
    }

    fn release(&mut self, ticket: Ticket) -> Place {
        let Some(node) = self.nodes.get_mut(ticket.0) else { return Place::Free };
        let place = std::mem::replace(&mut node.place, Place::Free);
        if !matches!(place, Place::Free) {
            node.waker = None;
            node.after = self.free;
            self.free = Some(ticket.0);
        }
        place
    }

    /// Only for one who waits, as only they are linked.
    fn unlink(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let (before, after) = (node.before.take(), node.after.take());
        match before {
            Some(before) => self.nodes[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.nodes[after].before = before,
            None => self.last = before,
        }
        self.len = self.len.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::meter::Nanos, *};
    use crate::LimitedBy;

    fn line(queue: &Queue) -> Vec<Nanos> {
        queue.waiting().map(|(_, bounds)| bounds.until).collect()
    }

    #[test]
    fn any_of_them_leaves_and_the_rest_keep_their_order_in_the_same_memory() {
        let mut queue = Queue::default();
        let bounds = |until| Bounds { until, by: LimitedBy::MaxWait, deadline: Nanos::MAX };
        let join = |queue: &mut Queue, until| queue.join(bounds(until), Waker::noop().clone());
        for round in 0..100 {
            let tickets: Vec<_> = (0..5).map(|n| join(&mut queue, n)).collect();
            queue.leave(tickets[2]);
            assert_eq!(line(&queue), [0, 1, 3, 4], "{round}");
            queue.leave(tickets[0]);
            queue.leave(tickets[4]);
            let late = join(&mut queue, 9);
            assert_eq!(line(&queue), [1, 3, 9]);
            assert!(queue.serve(tickets[1], Place::Refused(Refusal::late(LimitedBy::MaxWait, 0, 0))).is_some());
            assert_eq!((queue.len(), queue.first()), (2, Some((tickets[3], bounds(3)))));
            assert!(queue.collect(tickets[3], Waker::noop()).is_none());
            assert!(matches!(queue.collect(tickets[1], Waker::noop()), Some(Place::Refused(_))));
            queue.leave(tickets[3]);
            assert!(!queue.is_unused());
            queue.leave(late);
            assert!(queue.is_unused() && queue.first().is_none() && queue.len() == 0);
        }
        assert_eq!(queue.nodes.len(), 5);
    }
}
