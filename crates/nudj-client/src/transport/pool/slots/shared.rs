//! Connections that several calls have at once, each as many as its peer allows.

use std::time::Duration;

use tokio::time::Instant;

use super::{Protocol, Slots, is_over};

/// How long those who wait for a stream do without a further connection after one could not be made, or ended without an answer.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A connection that takes calls.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) connection: S,
    pub(super) id: u64,
    pub(super) until: Option<Instant>,
    pub(super) since: Instant,
    pub(super) users: usize,
    /// Whether a call on it was answered.
    pub(super) has_answered: bool,
}

impl<C, S: Clone, W> Slots<C, S, W> {
    /// One call more on the first shared connection that has not ended and `takes` as many at once. The first call it takes in any case. Those
    /// that have ended, are too old or were unused for too long are given up on the way.
    #[inline]
    pub(super) fn join(
        &mut self,
        now: Instant,
        takes: impl Fn(&S) -> Option<usize>,
    ) -> Option<(S, u64, Option<Duration>)> {
        let mut place = 0;
        while let Some(shared) = self.shared.get_mut(place) {
            let unused = (shared.users == 0).then(|| now.saturating_duration_since(shared.since));
            // Not by those who waited for it all the time.
            let stale = self.waiting.is_empty() && unused.is_some_and(|unused| unused >= self.limits.idle_timeout);
            match takes(&shared.connection) {
                Some(limit) if !stale && !is_over(shared.until, now) => {
                    if shared.users < limit.max(1) {
                        shared.users = shared.users.saturating_add(1);
                        return Some((shared.connection.clone(), shared.id, unused));
                    }
                    place += 1;
                }
                Some(_) => drop(self.shared.remove(place)),
                None => {
                    let ended = self.shared.remove(place);
                    self.rest_after(&ended, now);
                }
            }
        }
        None
    }

    /// Who waited longest, if a shared connection has room for one more, with it and its id.
    pub(in crate::transport::pool) fn grant(
        &mut self,
        now: Instant,
        takes: impl Fn(&S) -> Option<usize>,
    ) -> Option<(W, S, u64)> {
        if self.waiting.is_empty() {
            // Who waited when the last call ended may have gone meanwhile.
            if !self.keeps() {
                self.shared.retain(|shared| shared.users > 0);
            }
            return None;
        }
        let (connection, id, _) = self.join(now, takes)?;
        let (_, waiter) = self.waiting.pop_front()?;
        Some((waiter, connection, id))
    }

    /// One that ended before it answered anything would be followed by the next like it, as fast as they come, while there are others to wait for.
    pub(super) fn rest_after(&mut self, ended: &Shared<S>, now: Instant) {
        if !ended.has_answered && !self.shared.is_empty() {
            self.rest(now);
        }
    }

    pub(super) fn rest(&mut self, now: Instant) {
        self.pause_until = now.checked_add(PAUSE);
    }

    /// Until when no further connection is made, where that is yet to come.
    pub(in crate::transport::pool) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.pause_until.filter(|until| now < *until)
    }

    pub(super) fn may_share_another(&self, now: Instant, is_unheard: impl Fn(&S) -> bool) -> bool {
        self.shared.len() < self.limits.max_shared
            && self.rests_until(now).is_none()
            && !self.shared.iter().any(|shared| is_unheard(&shared.connection))
    }

    /// A connection was made that all can use, as many at once as it `takes`: its id, and those who waited longest. Each of them counts as a
    /// user already.
    pub(in crate::transport::pool) fn made_shared(
        &mut self,
        connection: S,
        takes: usize,
        now: Instant,
    ) -> (u64, Vec<W>) {
        self.making = self.making.saturating_sub(1);
        self.protocol = Protocol::Http2;
        let id = self.fresh_id();
        let served = self.waiting.len().min(takes.max(1));
        let waiters: Vec<W> = self.waiting.drain(..served).map(|(_, waiter)| waiter).collect();
        // Where the peer spoke HTTP/1.1 before, several were being made.
        let has_room = self.shared.len() < self.limits.max_shared;
        if (self.keeps() && has_room) || !waiters.is_empty() {
            if !has_room {
                // The calls on it go on, and no other begins there.
                self.shared.remove(0);
            }
            let (until, users) = (self.until(now), waiters.len());
            self.shared.push(Shared { connection, id, until, since: now, users, has_answered: false });
        }
        (id, waiters)
    }

    /// A call is done with the shared connection `id`, and was answered or not: see who has [waited](Self::grant) for that.
    pub(in crate::transport::pool) fn release(&mut self, id: u64, was_answered: bool, now: impl FnOnce() -> Instant) {
        let Some(place) = self.shared.iter().position(|shared| shared.id == id) else { return };
        let shared = &mut self.shared[place];
        shared.users = shared.users.saturating_sub(1);
        shared.has_answered |= was_answered;
        if shared.users == 0 {
            shared.since = now();
            if !self.keeps() && self.waiting.is_empty() {
                self.shared.remove(place);
            }
        }
    }

    /// Whether a call is on the shared connection `id`. One that was retired is kept by nobody else.
    pub(in crate::transport::pool) fn is_in_use(&self, id: u64) -> bool {
        self.shared.iter().find(|shared| shared.id == id).is_none_or(|shared| shared.users > 0)
    }

    /// The shared connection `id` takes no more calls. Those on it go on.
    pub(in crate::transport::pool) fn retire(&mut self, id: u64, now: Instant) {
        if let Some(place) = self.shared.iter().position(|shared| shared.id == id) {
            let retired = self.shared.remove(place);
            self.rest_after(&retired, now);
        }
    }

    /// Whether calls share a connection.
    pub(in crate::transport::pool) fn shares(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Whether somebody waits for room on a shared connection.
    pub(in crate::transport::pool) fn waits_for_stream(&self) -> bool {
        self.shares() && !self.waiting.is_empty()
    }
}
