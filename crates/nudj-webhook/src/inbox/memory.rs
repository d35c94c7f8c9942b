//! [`MemoryInbox`]: the default. Needs nothing, survives nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::seen::{Look, Seen, fingerprint};
use super::{Arrival, Claimed, DeadLetter, Inbox, Limits, Recorded, ReplayGuard, Reservation, Settlement, Swept};
use crate::Error;
use crate::wall_clock::millis;

/// Requests for the same id wait for one another on one of these, so that a repeat learns what became of the first.
const STRIPES: usize = 64;

/// Keeps deliveries in memory, bounded in number and bytes. What is not handled when the process ends is lost: choose
/// an SQL inbox where that matters.
#[derive(Debug)]
pub struct MemoryInbox {
    state: Arc<Mutex<State>>,
    limits: Limits,
    guarded: Option<Guarded>,
}

#[derive(Clone, Debug)]
struct Guarded {
    guard: Arc<dyn ReplayGuard>,
    stripes: Arc<[tokio::sync::Mutex<()>]>,
    retention: Duration,
    /// Tells the dispatcher; the request may be gone.
    recorded: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    seen: Seen,
    /// Ordered by the time they are due.
    waiting: BTreeMap<(i64, i64), Entry>,
    /// By the number of the lease, since an id may come again once it is forgotten.
    leased: HashMap<i64, Entry>,
    dead: VecDeque<(DeadLetter, Vec<String>)>,
    /// Places taken by arrivals that are being recorded.
    reserved: usize,
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
}

impl MemoryInbox {
    /// An empty one.
    pub fn new(limits: impl Into<Limits>) -> Self {
        let limits = limits.into();
        let seen = Seen::new(limits.remembered, millis(limits.retention), millis(limits.retention_floor));
        let state = State {
            seen,
            waiting: BTreeMap::new(),
            leased: HashMap::new(),
            dead: VecDeque::new(),
            reserved: 0,
            next: 0,
            bytes: 0,
            dead_bytes: 0,
            dropped: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), limits, guarded: None }
    }

    /// Also asks `guard`, which several receivers share. When it cannot be asked, deliveries are answered 503.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl ReplayGuard) -> Self {
        let stripes = (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect();
        let (retention, recorded) = (self.limits.retention, Arc::default());
        self.guarded = Some(Guarded { guard: Arc::new(guard), stripes, retention, recorded });
        self
    }
}

impl State {
    /// Takes a place for a new arrival, or says why not.
    fn reserve(&mut self, arrival: &Arrival, limits: &Limits) -> Recorded {
        for key in keys(arrival) {
            match self.seen.look(&key, arrival.received_at) {
                Look::Fresh => {}
                Look::Seen => return Recorded::Duplicate,
                Look::Full => return Recorded::Busy,
            }
        }
        let count = self.waiting.len() + self.leased.len() + self.reserved;
        let bytes = self.bytes.saturating_add(arrival.body.len());
        if count >= limits.capacity || bytes > limits.max_bytes {
            return Recorded::Busy;
        }
        self.reserved += 1;
        self.bytes = bytes;
        Recorded::New
    }

    fn release(&mut self, body_len: usize) {
        self.reserved = self.reserved.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(body_len);
    }

    /// The reserved place is taken.
    fn insert(&mut self, arrival: Arrival) {
        self.reserved = self.reserved.saturating_sub(1);
        for key in keys(&arrival) {
            self.seen.insert(key, arrival.received_at);
        }
        self.wait(arrival.received_at, Entry { arrival, attempts: 0, handled: Vec::new() });
    }

    fn wait(&mut self, due_at: i64, entry: Entry) {
        self.waiting.insert((due_at, self.next), entry);
        self.next = self.next.wrapping_add(1);
    }

    fn bury(&mut self, entry: Entry, handled: Vec<String>, reason: String, now: i64, limits: &Limits) {
        let Arrival { id, event, body, received_at, .. } = entry.arrival;
        self.bytes = self.bytes.saturating_sub(body.len());
        self.dead_bytes = self.dead_bytes.saturating_add(body.len());
        let letter = DeadLetter { id, event, attempts: entry.attempts, reason, received_at, died_at: now, body };
        self.dead.push_back((letter, handled));
        while self.dead.len() > limits.max_dead_letters || self.dead_bytes > limits.max_bytes / 2 {
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

fn keys(arrival: &Arrival) -> impl Iterator<Item = super::seen::Fingerprint> {
    let body = arrival.body_key.as_deref().map(|key| fingerprint(1, key));
    std::iter::once(fingerprint(0, &arrival.id)).chain(body)
}

/// Gives the reserved place back unless it was taken.
struct Place<'a> {
    state: &'a Mutex<State>,
    body_len: Option<usize>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(body_len) = self.body_len {
            self.state.lock().release(body_len);
        }
    }
}

impl Guarded {
    /// Records an arrival whose id other receivers may have. Runs to its end even when the request is gone, so that no
    /// reservation is left behind.
    async fn record(self, state: Arc<Mutex<State>>, limits: Limits, arrival: Arrival) -> Result<Recorded, Error> {
        let stripe = usize::from(fingerprint(0, &arrival.id)[0]) % STRIPES;
        let _turn = self.stripes[stripe].lock().await;
        match state.lock().reserve(&arrival, &limits) {
            Recorded::New => {}
            other => return Ok(other),
        }
        let mut place = Place { state: &state, body_len: Some(arrival.body.len()) };
        let token = format!("{:032x}", fastrand::u128(..));
        let ids: Vec<String> = std::iter::once(format!("id:{}", arrival.id))
            .chain(arrival.body_key.as_ref().map(|key| format!("body:{key}")))
            .collect();
        for (index, id) in ids.iter().enumerate() {
            let verdict = match self.guard.reserve(id, &token).await {
                Ok(Reservation::Fresh) => continue,
                Ok(Reservation::Seen) => Ok(Recorded::Duplicate),
                Ok(Reservation::Reserved) => Ok(Recorded::Busy),
                Err(error) => Err(error),
            };
            // The one that failed may have been reserved as well.
            for id in &ids[..=index] {
                let _ = self.guard.release(id, &token).await;
            }
            return verdict;
        }
        place.body_len = None;
        state.lock().insert(arrival);
        self.recorded.notify_one();
        for id in &ids {
            if let Err(error) = self.guard.confirm(id, &token, self.retention).await {
                tracing::warn!(error = %error, "a delivery's id could not be shared; another receiver may take a repeat of it");
            }
        }
        Ok(Recorded::New)
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    fn is_durable(&self) -> bool {
        false
    }

    async fn record(&self, arrival: Arrival) -> Result<Recorded, Error> {
        if let Some(guarded) = self.guarded.clone() {
            let work = guarded.record(Arc::clone(&self.state), self.limits.clone(), arrival);
            return tokio::spawn(work).await.unwrap_or_else(|gone| Err(Error::Store(gone.into())));
        }
        let mut state = self.state.lock();
        let recorded = state.reserve(&arrival, &self.limits);
        if recorded == Recorded::New {
            state.insert(arrival);
        }
        Ok(recorded)
    }

    async fn recorded(&self) {
        match &self.guarded {
            Some(guarded) => guarded.recorded.notified().await,
            None => std::future::pending().await,
        }
    }

    async fn claim(&self, limit: usize, now: i64, _lease: Duration) -> Result<Vec<Claimed>, Error> {
        let mut state = self.state.lock();
        let mut claimed = Vec::new();
        while claimed.len() < limit {
            let Some(first) = state.waiting.first_entry().filter(|entry| entry.key().0 <= now) else { break };
            let mut entry = first.remove();
            entry.attempts = entry.attempts.saturating_add(1);
            claimed.push(Claimed {
                id: entry.arrival.id.clone(),
                body: entry.arrival.body.clone(),
                received_at: entry.arrival.received_at,
                attempt: entry.attempts,
                handled: entry.handled.clone(),
                lease: state.next,
            });
            let lease = state.next;
            state.next = lease.wrapping_add(1);
            state.leased.insert(lease, entry);
        }
        Ok(claimed)
    }

    async fn settle(&self, claimed: &Claimed, settlement: Settlement, now: i64) -> Result<(), Error> {
        let mut state = self.state.lock();
        let Some(mut entry) = state.leased.remove(&claimed.lease) else { return Ok(()) };
        match settlement {
            Settlement::Done => state.bytes = state.bytes.saturating_sub(entry.arrival.body.len()),
            Settlement::Retry { due_at, handled, .. } => {
                entry.handled = handled;
                state.wait(due_at, entry);
            }
            Settlement::Release { handled } => {
                entry.handled = handled;
                entry.attempts = entry.attempts.saturating_sub(1);
                state.wait(now, entry);
            }
            Settlement::Dead { handled, reason } => state.bury(entry, handled, reason, now, &self.limits),
        }
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<i64>, Error> {
        Ok(self.state.lock().waiting.first_key_value().map(|((due_at, _), _)| *due_at))
    }

    fn depth(&self) -> u64 {
        let state = self.state.lock();
        (state.waiting.len() + state.leased.len()) as u64
    }

    fn dead_letter_count(&self) -> u64 {
        self.state.lock().dead.len() as u64
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.state.lock().dead.iter().take(limit).map(|(letter, _)| letter.clone()).collect())
    }

    async fn replay(&self, id: &str, now: i64) -> Result<bool, Error> {
        let mut state = self.state.lock();
        let Some((letter, handled)) = state.exhume(id) else { return Ok(false) };
        let DeadLetter { id, event, received_at, body, .. } = letter;
        state.bytes = state.bytes.saturating_add(body.len());
        let arrival = Arrival { id, body_key: None, event, body, received_at };
        state.wait(now, Entry { arrival, attempts: 0, handled });
        Ok(true)
    }

    async fn discard(&self, id: &str, _now: i64) -> Result<bool, Error> {
        Ok(self.state.lock().exhume(id).is_some())
    }

    async fn sweep(&self, _now: i64) -> Result<Swept, Error> {
        // Old ids go when the next one is looked up.
        Ok(Swept { dropped_dead_letters: std::mem::take(&mut self.state.lock().dropped) })
    }
}
