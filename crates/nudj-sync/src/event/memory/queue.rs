//! The queue itself, as plain data: times come in as arguments, nothing waits.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{AfterDeadLetter, Claimed, DeadLetter, Event, Lag, Published, Settlement, schedule::replayed};
use crate::until::later;

#[derive(Debug)]
struct Entry {
    event: Event,
    place: u64,
    attempts: u32,
    lease: u64,
    published: Instant,
    reason: String,
}

/// The events of one key, first one first.
#[derive(Debug, Default)]
struct Key {
    events: VecDeque<Entry>,
    /// When the first one is due, a lease being a due date in the future. `None` while a dead letter holds the key.
    due: Option<Instant>,
    held_by: Option<u64>,
}

/// Only first events are in `due`, so claiming looks at no other.
#[derive(Debug)]
pub(super) struct Queue {
    policy: AfterDeadLetter,
    keys: HashMap<String, Key>,
    due: BTreeMap<(Instant, u64), String>,
    dead: BTreeMap<u64, Entry>,
    waiting: BTreeMap<u64, Instant>,
    ids: HashSet<String>,
    done: VecDeque<String>,
    remembered: usize,
    next_place: u64,
}

impl Queue {
    pub(super) fn new(policy: AfterDeadLetter, remembered: usize) -> Self {
        Self {
            policy,
            keys: HashMap::new(),
            due: BTreeMap::new(),
            dead: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ids: HashSet::new(),
            done: VecDeque::new(),
            remembered,
            next_place: 0,
        }
    }

    /// Events on the bus, dead letters included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.dead.len()
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    pub(super) fn publish(&mut self, event: Event, now: Instant) -> Published {
        if !self.ids.insert(event.id.clone()) {
            return Published::Duplicate;
        }
        self.append(Entry { event, place: 0, attempts: 0, lease: 0, published: now, reason: String::new() }, now);
        Published::New
    }

    /// Puts it behind everything of its key.
    fn append(&mut self, mut entry: Entry, now: Instant) {
        entry.place = self.next_place;
        self.next_place += 1;
        self.waiting.insert(entry.place, entry.published);
        let name = entry.event.key.clone();
        let key = self.keys.entry(name.clone()).or_default();
        key.events.push_back(entry);
        if key.events.len() == 1 && key.held_by.is_none() {
            self.schedule(&name, now);
        }
    }

    /// Sets when the key's first event is due, or forgets the key when it has none.
    fn schedule(&mut self, name: &str, at: Instant) {
        let Some(key) = self.keys.get_mut(name) else { return };
        if let (Some(due), Some(first)) = (key.due.take(), key.events.front()) {
            self.due.remove(&(due, first.place));
        }
        match key.events.front() {
            Some(first) if key.held_by.is_none() => {
                key.due = Some(at);
                self.due.insert((at, first.place), name.to_owned());
            }
            None if key.held_by.is_none() => drop(self.keys.remove(name)),
            _ => {}
        }
    }

    /// Takes the key's first event off; nothing of the key is due until it is scheduled again.
    fn take_first(&mut self, name: &str) -> Option<Entry> {
        let key = self.keys.get_mut(name)?;
        let entry = key.events.pop_front()?;
        if let Some(due) = key.due.take() {
            self.due.remove(&(due, entry.place));
        }
        self.waiting.remove(&entry.place);
        Some(entry)
    }

    pub(super) fn claim(&mut self, limit: usize, now: Instant, lease: Duration) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            let Some((&(due, _), name)) = self.due.first_key_value() else { break };
            if due > now {
                break;
            }
            let name = name.clone();
            let Some(first) = self.keys.get_mut(&name).and_then(|key| key.events.front_mut()) else { break };
            first.attempts = first.attempts.saturating_add(1);
            first.lease += 1;
            claimed.push(Claimed {
                event: first.event.clone(),
                attempt: first.attempts,
                place: first.place,
                lease: first.lease,
            });
            // Never at `now`, or one claim would give the same event out for ever.
            self.schedule(&name, later(now, lease.max(Duration::from_millis(1))));
        }
        claimed
    }

    pub(super) fn settle(&mut self, claimed: &Claimed, settlement: &Settlement, now: Instant) -> bool {
        let name = &claimed.event.key;
        let first = self.keys.get_mut(name).and_then(|key| key.events.front_mut());
        let Some(first) = first.filter(|first| first.place == claimed.place && first.lease == claimed.lease) else {
            return false;
        };
        // The lease is over: it cannot be settled twice.
        first.lease += 1;
        match settlement {
            Settlement::Done(follow_ups) => {
                if let Some(entry) = self.take_first(name) {
                    self.remember(entry.event.id);
                }
                self.schedule(name, now);
                for event in follow_ups {
                    self.publish(event.clone(), now);
                }
            }
            Settlement::Retry { after, reason } => {
                first.reason.clone_from(reason);
                self.schedule(name, later(now, *after));
            }
            Settlement::Release => {
                first.attempts = first.attempts.saturating_sub(1);
                self.schedule(name, now);
            }
            Settlement::Dead { reason } => {
                if let Some(mut entry) = self.take_first(name) {
                    entry.reason.clone_from(reason);
                    if let (AfterDeadLetter::Hold, Some(key)) = (self.policy, self.keys.get_mut(name)) {
                        key.held_by = Some(entry.place);
                    }
                    self.dead.insert(entry.place, entry);
                }
                self.schedule(name, now);
            }
        }
        true
    }

    fn remember(&mut self, id: String) {
        self.done.push_back(id);
        while self.done.len() > self.remembered {
            if let Some(oldest) = self.done.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }

    fn take_dead(&mut self, id: &str) -> Option<Entry> {
        let place = *self.dead.iter().find(|(_, entry)| entry.event.id == id)?.0;
        let entry = self.dead.remove(&place)?;
        if let Some(key) = self.keys.get_mut(&entry.event.key)
            && key.held_by == Some(place)
        {
            key.held_by = None;
        }
        Some(entry)
    }

    pub(super) fn replay(&mut self, id: &str, now: Instant) -> bool {
        let Some(mut entry) = self.take_dead(id) else { return false };
        entry.attempts = replayed(entry.attempts);
        match self.policy {
            AfterDeadLetter::Hold => {
                let name = entry.event.key.clone();
                self.waiting.insert(entry.place, entry.published);
                self.keys.entry(name.clone()).or_default().events.push_front(entry);
                self.schedule(&name, now);
            }
            AfterDeadLetter::Pass => self.append(entry, now),
        }
        true
    }

    pub(super) fn discard(&mut self, id: &str, now: Instant) -> bool {
        let Some(entry) = self.take_dead(id) else { return false };
        if self.policy == AfterDeadLetter::Hold {
            self.schedule(&entry.event.key, now);
        }
        self.remember(entry.event.id);
        true
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn lag(&self, now: Instant) -> Lag {
        let oldest = self.waiting.values().next();
        Lag {
            waiting: self.waiting.len() as u64,
            oldest_age: oldest.map(|published| now.saturating_duration_since(*published)),
            dead_letters: self.dead.len() as u64,
        }
    }

    pub(super) fn dead_letters(&self, limit: usize) -> Vec<DeadLetter> {
        let letter = |entry: &Entry| DeadLetter {
            event: entry.event.clone(),
            attempts: entry.attempts,
            reason: entry.reason.clone(),
        };
        self.dead.values().take(limit).map(letter).collect()
    }
}
