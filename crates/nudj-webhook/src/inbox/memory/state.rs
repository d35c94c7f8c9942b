//! What the inbox in memory holds, without lock or clock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::inbox::seen::{Fingerprint, Look, Seen, fingerprint};
use crate::inbox::{Arrival, Claimed, DeadLetter, Limits, Recorded, Settlement};
use crate::wall_clock::millis;

/// Points in time from different tasks may be out of order by this; more, and the clock was set back.
const OUT_OF_ORDER: i64 = 1000;

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    seen: Seen,
    /// Ordered by the time they are due.
    waiting: BTreeMap<(i64, i64), Entry>,
    /// The latest time at which one of them began to wait.
    latest: i64,
    /// By the number of the lease, since an id may come again once it is forgotten.
    leased: HashMap<i64, Entry>,
    dead: VecDeque<(DeadLetter, Vec<String>)>,
    /// Places taken by arrivals that are being recorded.
    reserved: usize,
    /// Nobody handles what is recorded from now on, so nothing is.
    closed: bool,
    next: i64,
    /// Bytes of bodies waiting, leased or being recorded, and of the dead ones.
    bytes: usize,
    dead_bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    arrival: Arrival,
    attempts: u32,
    handled: Vec<String>,
    /// When it began to wait.
    since: i64,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            seen: Seen::new(limits.remembered, millis(limits.retention), millis(limits.retention_floor)),
            limits,
            waiting: BTreeMap::new(),
            latest: i64::MIN,
            leased: HashMap::new(),
            dead: VecDeque::new(),
            reserved: 0,
            closed: false,
            next: 0,
            bytes: 0,
            dead_bytes: 0,
            dropped: 0,
        }
    }

    /// What is known of an arrival: whether it was recorded before, and whether it could be remembered.
    pub(super) fn look(&mut self, arrival: &Arrival) -> Recorded {
        for key in keys(arrival) {
            match self.seen.look(&key, arrival.received_at) {
                Look::Fresh => {}
                Look::Seen => return Recorded::Duplicate,
                Look::Full => return Recorded::Busy,
            }
        }
        Recorded::New
    }

    /// Takes a place for a new arrival, or says why not.
    pub(super) fn reserve(&mut self, arrival: &Arrival) -> Recorded {
        let known = self.look(arrival);
        if known != Recorded::New {
            return known;
        }
        let count = self.waiting.len() + self.leased.len() + self.reserved;
        let bytes = self.bytes.saturating_add(arrival.body.len());
        if self.closed || count >= self.limits.capacity || bytes > self.limits.max_bytes {
            return Recorded::Busy;
        }
        self.reserved += 1;
        self.bytes = bytes;
        Recorded::New
    }

    /// Gives a reserved place back.
    pub(super) fn release(&mut self, body_len: usize) {
        self.reserved = self.reserved.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(body_len);
    }

    /// Takes the reserved place; false, and the place is still reserved, when the inbox was closed meanwhile.
    pub(super) fn insert(&mut self, arrival: Arrival) -> bool {
        if self.closed {
            return false;
        }
        self.reserved = self.reserved.saturating_sub(1);
        for key in keys(&arrival) {
            self.seen.insert(key, arrival.received_at);
        }
        let since = arrival.received_at;
        self.wait(since, Entry { arrival, attempts: 0, handled: Vec::new(), since });
        true
    }

    pub(super) fn close_if_idle(&mut self) -> bool {
        self.closed |= self.waiting.is_empty() && self.reserved == 0;
        self.closed
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn claim(&mut self, limit: usize, now: i64) -> Vec<Claimed> {
        self.follow(now);
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            let Some(first) = self.waiting.first_entry().filter(|entry| entry.key().0 <= now) else { break };
            let mut entry = first.remove();
            entry.attempts = entry.attempts.saturating_add(1);
            let lease = self.number();
            claimed.push(Claimed {
                id: entry.arrival.id.clone(),
                body: entry.arrival.body.clone(),
                received_at: entry.arrival.received_at,
                attempt: entry.attempts,
                handled: entry.handled.clone(),
                lease,
            });
            self.leased.insert(lease, entry);
        }
        claimed
    }

    pub(super) fn settle(&mut self, claimed: &Claimed, settlement: Settlement, now: i64) {
        let Some(mut entry) = self.leased.remove(&claimed.lease) else { return };
        entry.since = now;
        match settlement {
            Settlement::Done => self.bytes = self.bytes.saturating_sub(entry.arrival.body.len()),
            Settlement::Retry { due_at, handled, .. } => {
                entry.handled = handled;
                self.wait(due_at, entry);
            }
            Settlement::Release { handled } => {
                entry.handled = handled;
                entry.attempts = entry.attempts.saturating_sub(1);
                self.wait(now, entry);
            }
            Settlement::Dead { handled, reason } => self.bury(entry, handled, reason, now),
        }
    }

    pub(super) fn next_due(&self) -> Option<i64> {
        self.waiting.first_key_value().map(|((due_at, _), _)| *due_at)
    }

    /// Those being recorded are among them, unless the inbox is closed: they are refused then.
    pub(super) fn depth(&self) -> usize {
        let reserved = if self.closed { 0 } else { self.reserved };
        self.waiting.len() + self.leased.len() + reserved
    }

    pub(super) fn dead(&self) -> impl ExactSizeIterator<Item = &DeadLetter> {
        self.dead.iter().map(|(letter, _)| letter)
    }

    pub(super) fn replay(&mut self, id: &str, now: i64) -> bool {
        let Some((letter, handled)) = self.exhume(id) else { return false };
        let DeadLetter { id, event, received_at, body, .. } = letter;
        self.bytes = self.bytes.saturating_add(body.len());
        let arrival = Arrival { id, body_key: None, event, body, received_at };
        self.wait(now, Entry { arrival, attempts: 0, handled, since: now });
        true
    }

    pub(super) fn discard(&mut self, id: &str) -> bool {
        self.exhume(id).is_some()
    }

    /// How many dead letters were dropped since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn wait(&mut self, due_at: i64, entry: Entry) {
        self.latest = self.latest.max(entry.since);
        let number = self.number();
        self.waiting.insert((due_at, number), entry);
    }

    fn number(&mut self) -> i64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// Lets those that began to wait while the clock was ahead begin now. Else they would stand still until that time.
    fn follow(&mut self, now: i64) {
        if self.latest <= now.saturating_add(OUT_OF_ORDER) {
            return;
        }
        self.latest = now;
        let ahead: Vec<_> = self.waiting.extract_if(.., |_, entry| entry.since > now).collect();
        for ((due_at, number), mut entry) in ahead {
            let due_at = now.saturating_add(due_at.saturating_sub(entry.since));
            entry.since = now;
            self.waiting.insert((due_at, number), entry);
        }
    }

    fn bury(&mut self, entry: Entry, handled: Vec<String>, reason: String, now: i64) {
        let Arrival { id, event, body, received_at, .. } = entry.arrival;
        self.bytes = self.bytes.saturating_sub(body.len());
        self.dead_bytes = self.dead_bytes.saturating_add(body.len());
        let letter = DeadLetter { id, event, attempts: entry.attempts, reason, received_at, died_at: now, body };
        self.dead.push_back((letter, handled));
        while self.dead.len() > self.limits.max_dead_letters || self.dead_bytes > self.limits.max_bytes / 2 {
            let Some((oldest, _)) = self.dead.pop_front() else { break };
            self.dead_bytes = self.dead_bytes.saturating_sub(oldest.body.len());
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    fn exhume(&mut self, id: &str) -> Option<(DeadLetter, Vec<String>)> {
        let index = self.dead.iter().position(|(letter, _)| letter.id == id)?;
        let (letter, handled) = self.dead.remove(index)?;
        self.dead_bytes = self.dead_bytes.saturating_sub(letter.body.len());
        Some((letter, handled))
    }
}

fn keys(arrival: &Arrival) -> impl Iterator<Item = Fingerprint> {
    let body = arrival.body_key.as_deref().map(|key| fingerprint(1, key));
    std::iter::once(fingerprint(0, &arrival.id)).chain(body)
}
