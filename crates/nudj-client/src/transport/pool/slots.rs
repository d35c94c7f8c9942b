//! Who gets which connection, and how many may be made: the decisions of one endpoint, without sockets, clock or tasks.

mod limits;
mod shared;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub(super) use self::limits::{Limits, Protocol};

use self::shared::Shared;

/// A connection that takes one call at a time.
#[derive(Debug)]
pub(super) struct Kept<C> {
    pub(super) connection: C,
    /// From when on no call begins on it; `None` for one that does not age. A sum for each call would cost more than this place.
    pub(super) until: Option<Instant>,
    /// Since when nobody uses it.
    pub(super) since: Instant,
}

/// A connection for a call.
#[derive(Debug)]
pub(super) enum Taken<C, S> {
    /// With how long nobody has used it.
    One(Kept<C>, Duration),
    /// With its id, and how long nobody has used it if nobody does.
    Shared(S, u64, Option<Duration>),
}

/// What becomes of a connection that a call is done with.
#[derive(Debug)]
pub(super) enum Put<C, W> {
    Kept,
    /// This waiter was next.
    For(W, Kept<C>),
    /// Too old, nothing is kept any more, or the one that was used longest ago where there are too many. The caller drops it, outside
    /// the lock.
    Surplus(Kept<C>),
}

/// Why a call may not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Closed,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Nothing is kept, those that are under way are still served: the last handle was dropped.
    Draining,
    Closed,
}

/// The connections of one endpoint: `C` takes one call at a time, `S` as many as its peer allows, `W` is told what it waited for.
///
/// Invariant: while anything is idle, nobody waits. So the waiters are served in their order, and a newcomer passes nobody.
#[derive(Debug)]
pub(super) struct Slots<C, S, W> {
    limits: Limits,
    protocol: Protocol,
    mode: Mode,
    /// The last used is last, so the first is the one to give up.
    idle: Vec<Kept<C>>,
    /// Oldest first. Calls go to the first that has room, so that those made for a crowd are unused once it is gone.
    shared: Vec<Shared<S>>,
    waiting: VecDeque<(u64, W)>,
    next_id: u64,
    open: usize,
    making: usize,
    /// A further connection was not to be had, and is not tried again before this.
    pause_until: Option<Instant>,
}

impl<C, S: Clone, W> Slots<C, S, W> {
    pub(super) fn new(limits: Limits, protocol: Protocol) -> Self {
        Self {
            limits,
            protocol,
            mode: Mode::Open,
            idle: Vec::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            next_id: 0,
            open: 0,
            making: 0,
            pause_until: None,
        }
    }

    /// A connection that can be used now: the one used last. The dead and the aged are dropped on the way.
    pub(super) fn take(
        &mut self,
        now: Instant,
        alive_one: impl Fn(&C) -> bool,
        takes: impl Fn(&S) -> Option<usize>,
    ) -> Option<Taken<C, S>> {
        if self.mode == Mode::Closed {
            return None;
        }
        let limits = self.limits;
        if self.waiting.is_empty()
            && let Some((connection, id, unused)) = self.join(now, takes)
        {
            return Some(Taken::Shared(connection, id, unused));
        }
        while let Some(kept) = self.idle.pop() {
            let unused = now.saturating_duration_since(kept.since);
            if unused >= limits.idle_timeout {
                // What lies below was used even earlier.
                self.idle.clear();
                return None;
            }
            if alive_one(&kept.connection) && !is_over(kept.until, now) {
                return Some(Taken::One(kept, unused));
            }
        }
        None
    }

    /// Puts a waiter at the end of the queue. Its id takes it out again.
    pub(super) fn enqueue(&mut self, waiter: W) -> Result<u64, Refused> {
        if self.mode == Mode::Closed {
            return Err(Refused::Closed);
        }
        if self.waiting.len() >= self.limits.max_waiting {
            return Err(Refused::Full);
        }
        let id = self.fresh_id();
        self.waiting.push_back((id, waiter));
        Ok(id)
    }

    /// Takes a waiter out that no longer waits.
    pub(super) fn abandon(&mut self, id: u64) -> Option<W> {
        let at = self.waiting.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.waiting.remove(at).map(|(_, waiter)| waiter)
    }

    /// How many connections to make now. They count as open from here on, until [`ended`](Self::ended). None beside a shared one that
    /// `is_unheard`: it may take them all.
    #[must_use]
    pub(super) fn reserve(&mut self, now: Instant, is_unheard: impl Fn(&S) -> bool) -> usize {
        let room = self.limits.max_open.saturating_sub(self.open);
        let wanted = match self.protocol {
            Protocol::Http1 if self.shared.is_empty() => self.waiting.len().saturating_sub(self.making),
            _ => usize::from(
                self.making == 0
                    && !self.waiting.is_empty()
                    && (self.shared.is_empty() || self.may_share_another(now, is_unheard)),
            ),
        };
        let count = wanted.min(room);
        self.open = self.open.saturating_add(count);
        self.making = self.making.saturating_add(count);
        count
    }

    /// A connection was made that takes one call at a time.
    pub(super) fn made_one(&mut self, connection: C, now: Instant) -> Put<C, W> {
        self.making = self.making.saturating_sub(1);
        self.protocol = Protocol::Http1;
        self.put(Kept { connection, until: self.until(now), since: now }, now)
    }

    /// A call is done with a connection, which can take the next one.
    pub(super) fn put(&mut self, kept: Kept<C>, now: Instant) -> Put<C, W> {
        if is_over(kept.until, now) {
            return Put::Surplus(kept);
        }
        if let Some((_, waiter)) = self.waiting.pop_front() {
            return Put::For(waiter, kept);
        }
        if !self.keeps() || self.limits.max_idle == 0 {
            return Put::Surplus(kept);
        }
        let surplus = (self.idle.len() >= self.limits.max_idle).then(|| self.idle.remove(0));
        self.idle.push(Kept { since: now, ..kept });
        surplus.map_or(Put::Kept, Put::Surplus)
    }

    /// A connection could not be made: who is to be told. Its place is given back by [`ended`](Self::ended).
    #[must_use]
    pub(super) fn failed(&mut self, now: Instant) -> Vec<W> {
        self.making = self.making.saturating_sub(1);
        if !self.shared.is_empty() {
            // A further one. Those who wait have streams to wait for.
            self.rest(now);
            return Vec::new();
        }
        match self.protocol {
            Protocol::Http1 => self.waiting.pop_front().map(|(_, waiter)| waiter).into_iter().collect(),
            // One was made for all who wait. One after the other, the last would wait for as many failures as there are calls.
            Protocol::Unknown | Protocol::Http2 => self.drain(),
        }
    }

    /// A connection is gone, or was not made: how many to make now, in its place or more.
    #[must_use]
    pub(super) fn ended(
        &mut self,
        now: Instant,
        alive_one: impl Fn(&C) -> bool,
        is_unheard: impl Fn(&S) -> bool,
    ) -> usize {
        self.open = self.open.saturating_sub(1);
        self.idle.retain(|kept| alive_one(&kept.connection));
        self.reserve(now, is_unheard)
    }

    /// Whoever made or kept a connection is gone and can make no other, as when its runtime ends: who is to be told.
    #[must_use]
    pub(super) fn lost(&mut self, making: bool, takes: impl Fn(&S) -> Option<usize>) -> Vec<W> {
        self.open = self.open.saturating_sub(1);
        if making {
            self.making = self.making.saturating_sub(1);
        }
        self.shared.retain(|shared| takes(&shared.connection).is_some());
        // Those who wait for a stream are served when one ends.
        if self.making == 0 && self.shared.is_empty() { self.drain() } else { Vec::new() }
    }

    /// Drops what nobody used for too long. When to look again, as long as anything is open: a connection in use is idle from now on at
    /// the earliest. So one look in `idle_timeout` is enough, however busy the endpoint is.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let timeout = self.limits.idle_timeout;
        if !self.keeps() {
            return None;
        }
        let stale = self.idle.partition_point(|kept| is_past(kept.since, timeout, now));
        self.idle.drain(..stale);
        self.shared.retain(|shared| shared.users > 0 || !is_past(shared.since, timeout, now));
        let shared = self.shared.iter().map(|shared| if shared.users == 0 { shared.since } else { now });
        let idle = self.idle.first().map(|kept| kept.since).into_iter().chain(shared).min();
        idle.or((self.open > 0).then_some(now))?.checked_add(timeout)
    }

    /// Keeps nothing from here on. Those who wait are still served.
    pub(super) fn drain_off(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::Draining;
        }
        self.idle.clear();
        self.shared.retain(|shared| shared.users > 0);
    }

    /// As [`drain_off`](Self::drain_off), and nobody new is served: who is to be told.
    #[must_use]
    pub(super) fn close(&mut self) -> Vec<W> {
        self.drain_off();
        self.mode = Mode::Closed;
        self.drain()
    }

    /// Until when calls may begin on what was made at `now`.
    fn until(&self, now: Instant) -> Option<Instant> {
        now.checked_add(self.limits.max_age?)
    }

    /// Whether a connection that nobody uses is kept at all.
    fn keeps(&self) -> bool {
        self.mode == Mode::Open && !self.limits.idle_timeout.is_zero()
    }

    /// Whether all that there is to wait for is still being made.
    pub(super) fn only_making(&self) -> bool {
        self.making > 0 && self.making == self.open
    }

    /// How many connections are open or being made.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    fn drain(&mut self) -> Vec<W> {
        self.waiting.drain(..).map(|(_, waiter)| waiter).collect()
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

/// Whether `limit` has gone by. A sum beyond what an instant holds never does.
fn is_past(since: Instant, limit: Duration, now: Instant) -> bool {
    since.checked_add(limit).is_some_and(|end| now >= end)
}

fn is_over(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now >= until)
}

#[cfg(test)]
mod tests;
