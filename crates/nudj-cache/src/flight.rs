//! Single flight: of all calls that miss one key at once, one asks the origin.
//!
//! The first is the leader; the others sleep, each on its own channel, and are woken once: with the leader's answer,
//! or, when the leader was dropped before it had one, the first of them with the lead itself. Nobody polls.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The flights under way, by key.
pub(crate) struct Flights<T>(Arc<Mutex<Waiting<T>>>);

/// A key is here while it has a leader.
type Waiting<T> = HashMap<Box<str>, VecDeque<oneshot::Sender<Landing<T>>>>;

/// What a waiter is woken with.
#[derive(Debug)]
pub(crate) enum Landing<T> {
    /// The leader's answer.
    Answer(T),
    /// The leader is gone: lead yourself.
    Lead(Lead<T>),
}

/// What joining a flight makes of the caller.
pub(crate) enum Role<T> {
    Lead(Lead<T>),
    Wait(Wait<T>),
}

impl<T> Flights<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Leads if nobody does, else waits.
    pub(crate) fn join(&self, key: &str) -> Role<T> {
        let mut flights = self.0.lock();
        let Some(waiting) = flights.get_mut(key) else {
            flights.insert(key.into(), VecDeque::new());
            return Role::Lead(Lead { flights: Some(Arc::clone(&self.0)), key: key.into() });
        };
        // Waiters that left are swept out now and then, or a leader that hangs would collect them for ever.
        if waiting.len() >= 64 && waiting.len().is_power_of_two() {
            waiting.retain(|waiter| !waiter.is_closed());
        }
        let (sender, landing) = oneshot::channel();
        waiting.push_back(sender);
        Role::Wait(Wait(landing))
    }

    /// Leads if nobody does.
    pub(crate) fn try_lead(&self, key: &str) -> Option<Lead<T>> {
        let mut flights = self.0.lock();
        if flights.contains_key(key) {
            return None;
        }
        flights.insert(key.into(), VecDeque::new());
        Some(Lead { flights: Some(Arc::clone(&self.0)), key: key.into() })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Flights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("under_way", &self.0.lock().len()).finish()
    }
}

/// The duty to ask the origin. Dropped without an answer, it goes to the next waiter.
pub(crate) struct Lead<T> {
    /// `None` once it was passed on or ended.
    flights: Option<Arc<Mutex<Waiting<T>>>>,
    key: Box<str>,
}

impl<T> Lead<T> {
    /// Ends the flight. `answer` is asked once per waiter.
    pub(crate) fn land(mut self, mut answer: impl FnMut() -> T) {
        let Some(flights) = self.flights.take() else { return };
        let waiting = flights.lock().remove(&self.key);
        // Outside the lock: a waiter may be polled, and join again, right in `send`.
        for waiter in waiting.into_iter().flatten() {
            // A waiter that left needs no answer.
            let _ = waiter.send(Landing::Answer(answer()));
        }
    }

    /// Whether somebody waits for the answer.
    pub(crate) fn is_shared(&self) -> bool {
        let Some(flights) = &self.flights else { return false };
        flights.lock().get(&self.key).is_some_and(|waiting| waiting.iter().any(|waiter| !waiter.is_closed()))
    }
}

impl<T> fmt::Debug for Lead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("key", &self.key).finish_non_exhaustive()
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let Some(flights) = self.flights.take() else { return };
        loop {
            let next = {
                let mut map = flights.lock();
                let next = map.get_mut(&self.key).and_then(VecDeque::pop_front);
                if next.is_none() {
                    map.remove(&self.key);
                    return;
                }
                next
            };
            let Some(waiter) = next else { return };
            let lead = Lead { flights: Some(Arc::clone(&flights)), key: self.key.clone() };
            // A landing that is never looked at drops the lead within it, which passes it on.
            match waiter.send(Landing::Lead(lead)) {
                Ok(()) => return,
                Err(Landing::Lead(mut back)) => back.flights = None,
                Err(Landing::Answer(_)) => {}
            }
        }
    }
}

/// Waits for the leader. Resolves to `None` only if the flight vanished, which means: lead or ask yourself.
pub(crate) struct Wait<T>(oneshot::Receiver<Landing<T>>);

impl<T> Future for Wait<T> {
    type Output = Option<Landing<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    fn lead(flights: &Flights<u32>) -> Lead<u32> {
        match flights.join("k") {
            Role::Lead(lead) => lead,
            Role::Wait(_) => panic!("somebody leads already"),
        }
    }

    fn wait(flights: &Flights<u32>) -> Wait<u32> {
        match flights.join("k") {
            Role::Wait(wait) => wait,
            Role::Lead(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn waiters_are_woken_once_with_the_answer() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let mut waiters: Vec<_> = (0..3).map(|_| task::spawn(wait(&flights))).collect();
        for waiter in &mut waiters {
            assert_pending!(waiter.poll());
            assert!(!waiter.is_woken());
        }
        leader.land(|| 7);
        for waiter in &mut waiters {
            assert!(waiter.is_woken());
            assert!(matches!(assert_ready!(waiter.poll()), Some(Landing::Answer(7))));
        }
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn dropped_leader_wakes_only_the_first_waiter_and_gives_it_the_lead() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let mut first = task::spawn(wait(&flights));
        let mut second = task::spawn(wait(&flights));
        assert_pending!(first.poll());
        assert_pending!(second.poll());
        drop(leader);
        assert!(first.is_woken());
        assert!(!second.is_woken());
        let Some(Landing::Lead(leader)) = assert_ready!(first.poll()) else { panic!("no lead") };
        leader.land(|| 1);
        assert!(matches!(assert_ready!(second.poll()), Some(Landing::Answer(1))));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn lead_given_to_a_waiter_that_leaves_before_it_looks_goes_on() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let first = wait(&flights);
        let mut second = task::spawn(wait(&flights));
        assert_pending!(second.poll());
        drop(leader);
        drop(first);
        assert!(second.is_woken());
        assert!(matches!(assert_ready!(second.poll()), Some(Landing::Lead(_))));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn waiters_that_left_do_not_pile_up_behind_a_leader_that_hangs() {
        let flights = Flights::new();
        let _leader = lead(&flights);
        for _ in 0..10_000 {
            drop(wait(&flights));
        }
        assert!(flights.0.lock().get("k").unwrap().len() < 128);
    }

    proptest! {
        /// In any order of joining, leaving and landing there is at most one leader, and in the end nobody is left.
        #[test]
        fn there_is_one_leader_or_none(steps in proptest::collection::vec((0u8..4, 0usize..8), 1..80)) {
            let flights: Flights<u32> = Flights::new();
            let mut leads: Vec<Lead<u32>> = Vec::new();
            let mut waits: Vec<Wait<u32>> = Vec::new();
            let poll = |waits: &mut Vec<Wait<u32>>, leads: &mut Vec<Lead<u32>>| {
                let mut rest = Vec::new();
                for mut wait in waits.drain(..) {
                    let mut asked = tokio_test::task::spawn(poll_fn(|cx| Pin::new(&mut wait).poll(cx)));
                    match asked.poll() {
                        Poll::Ready(Some(Landing::Lead(lead))) => leads.push(lead),
                        Poll::Ready(Some(Landing::Answer(_))) => {}
                        Poll::Ready(None) => panic!("the flight vanished"),
                        Poll::Pending => { drop(asked); rest.push(wait); }
                    }
                }
                *waits = rest;
            };
            for (step, at) in steps {
                match step {
                    0 => match flights.join("k") {
                        Role::Lead(lead) => leads.push(lead),
                        Role::Wait(wait) => waits.push(wait),
                    },
                    1 if at < waits.len() => drop(waits.remove(at)),
                    2 => drop(leads.pop()),
                    3 => if let Some(lead) = leads.pop() { lead.land(|| 1) },
                    _ => {}
                }
                poll(&mut waits, &mut leads);
                prop_assert!(leads.len() <= 1);
                prop_assert!(waits.is_empty() || leads.len() == 1, "waiting for nobody");
            }
            drop(waits);
            drop(leads);
            prop_assert_eq!(flights.len(), 0);
        }
    }
}
