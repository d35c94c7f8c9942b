//! One key's limiter: who passes, who waits, who is refused. Times and readiness are arguments; nothing here sleeps.

use std::task::Waker;

use super::{
    allowance::Loan,
    config::{Algorithm, Quota},
    meter::{Grant, Meter, Nanos},
    patience::{Bounds, Patience},
    queue::{Place, Queue, Ticket},
    refusal::Refusal,
    wakes::Wakes,
};
use crate::LimitedBy;

/// The state of one key.
#[derive(Debug)]
pub(super) struct Limiter {
    meter: Meter,
    /// Made when the first call has to wait.
    queue: Option<Box<Queue>>,
    /// Nobody passes before this.
    paused_until: Nanos,
    /// The latest time seen: threads read the clock before they get here, so `now` may come out of order.
    latest: Nanos,
    alarm: Alarm,
    /// What others may take without asking.
    lent: u32,
    /// Whether the meter takes all the memory it will need at once.
    roomy: bool,
    pub(super) counts: Counts,
}

/// Who sees to it that the line moves on: always its head, and it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    /// Nobody waits.
    Off,
    /// The head was told and has not set its timer yet.
    Told(Ticket),
    /// The head's timer goes off then.
    Set(Ticket, Nanos),
}

/// What a limiter has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls let through, at once or after a wait.
    pub granted: u64,
    /// Calls that were let through after a wait.
    pub waited: u64,
    /// Calls refused, whatever the reason.
    pub refused: u64,
    /// Calls that were let through and never sent; their quota went to others.
    pub given_back: u64,
}

/// The answer to one who asks for quota.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Granted(Grant),
    /// It stands in the queue and will be woken; if `alarm` is there, it must come by itself at that time.
    Waits {
        ticket: Ticket,
        alarm: Option<Nanos>,
    },
    Refused(Refusal),
}

impl Limiter {
    pub(super) fn new(algorithm: Algorithm, quota: Quota, roomy: bool) -> Self {
        Self {
            meter: Meter::new(algorithm, quota, roomy),
            queue: None,
            paused_until: 0,
            latest: 0,
            alarm: Alarm::Off,
            lent: 0,
            roomy,
            counts: Counts::default(),
        }
    }

    /// A limiter that remembers what this one granted, with a queue of its own.
    pub(super) fn fork(&self) -> Self {
        Self {
            meter: self.meter.clone(),
            queue: None,
            paused_until: self.paused_until,
            latest: self.latest,
            alarm: Alarm::Off,
            lent: 0,
            roomy: self.roomy,
            counts: Counts::default(),
        }
    }

    /// Lets a call through if nobody waits and there is quota. The path of nearly all calls.
    #[inline]
    pub(super) fn take(&mut self, now: Nanos) -> Option<Grant> {
        let now = self.at(now);
        if self.waiting() > 0 || now < self.paused_until {
            return None;
        }
        let grant = self.meter.take(now)?;
        self.counts.granted = self.counts.granted.saturating_add(1);
        Some(grant)
    }

    /// What may pass from here on without asking, as long as nothing but time changes. To be [settled](Self::settle) before anything else
    /// is done.
    pub(super) fn lend(&mut self) -> Option<Loan> {
        if self.waiting() > 0 || self.latest < self.paused_until {
            return None;
        }
        let loan = self.meter.lend().filter(|loan| self.latest < loan.until)?;
        self.lent = loan.calls;
        Some(loan)
    }

    pub(super) fn has_lent(&self) -> bool {
        self.lent > 0
    }

    /// Counts what was taken of a loan, of which so many calls are left.
    pub(super) fn settle(&mut self, left: u32) {
        let taken = std::mem::take(&mut self.lent).saturating_sub(left);
        self.meter.count(taken);
        self.counts.granted = self.counts.granted.saturating_add(taken.into());
    }

    /// Lets a call through, puts it into the queue, or refuses it. `deadline` is when its whole call must have ended. Those ahead
    /// were served before: see [`advance`](Self::advance).
    pub(super) fn admit(
        &mut self,
        now: Nanos,
        patience: Patience,
        deadline: Option<Nanos>,
        waker: &Waker,
    ) -> Admission {
        let now = self.at(now);
        let bounds = patience.bounds(now, deadline);
        if !bounds.are_over(now)
            && let Some(grant) = self.take(now)
        {
            return Admission::Granted(grant);
        }
        let ahead = self.waiting();
        let turn = self.turn(ahead, now);
        let refusal = if bounds.are_passed(turn, now) {
            self.late(turn, bounds, now)
        } else if ahead >= patience.max_queue() {
            Refusal::full(patience.max_queue(), turn, now)
        } else {
            let ticket = self.queue.get_or_insert_default().join(bounds, waker.clone());
            return Admission::Waits { ticket, alarm: self.set_alarm(ticket, now) };
        };
        self.count_refusal();
        Admission::Refused(refusal)
    }

    /// What became of one who waits. It is the head that serves the line, itself included: the others only look.
    pub(super) fn check(&mut self, ticket: Ticket, now: Nanos, waker: &Waker) -> Admission {
        let now = self.at(now);
        match self.queue.as_mut().and_then(|queue| queue.collect(ticket, waker)) {
            Some(Place::Granted(grant)) => Admission::Granted(grant),
            Some(Place::Refused(refusal)) => Admission::Refused(refusal),
            // A place is given up only by its owner, who asks no more then.
            Some(Place::Free | Place::Waiting(_)) => {
                Admission::Refused(Refusal::Late { by: LimitedBy::MaxWait, retry_after: None })
            }
            None => Admission::Waits { ticket, alarm: self.set_alarm(ticket, now) },
        }
    }

    /// Whether this one's duty is to serve the line.
    pub(super) fn is_head(&self, ticket: Ticket) -> bool {
        self.queue.as_ref().and_then(|queue| queue.first()).is_some_and(|(head, _)| head == ticket)
    }

    /// Serves the line from its head on, as far as quota goes. Called by the head when its timer went off, and by whoever changed
    /// something.
    pub(super) fn advance(&mut self, now: Nanos, wakes: &mut Wakes) {
        let now = self.at(now);
        wakes.more = false;
        loop {
            let Some((ticket, bounds)) = self.queue.as_ref().and_then(|queue| queue.first()) else {
                self.alarm = Alarm::Off;
                return;
            };
            if !wakes.has_room() {
                wakes.more = true;
                return;
            }
            let word = if now >= self.paused_until
                && !bounds.are_over(now)
                && let Some(grant) = self.meter.take(now)
            {
                Place::Granted(grant)
            } else {
                let turn = self.turn(0, now);
                if !bounds.are_passed(turn, now) {
                    return self.tell_head(ticket, turn, wakes);
                }
                Place::Refused(self.late(turn, bounds, now))
            };
            wakes.add(self.serve(ticket, word));
        }
    }

    /// Lets nobody pass before `until`, and gives those to wake who can no longer pass in time: refused now rather than after a
    /// useless wait. `advance` comes next.
    pub(super) fn pause(&mut self, until: Nanos, now: Nanos) -> Vec<Waker> {
        if until <= self.paused_until {
            return Vec::new();
        }
        self.paused_until = until;
        self.refuse_the_late(now)
    }

    /// Ends a pause early. `advance` comes next.
    pub(super) fn resume(&mut self) {
        self.paused_until = 0;
    }

    /// Counts by another quota, and gives those to wake who can no longer pass in time. `advance` comes next.
    pub(super) fn change(&mut self, quota: Quota, now: Nanos) -> Vec<Waker> {
        let now = self.at(now);
        self.meter.change(quota, now, self.roomy);
        self.refuse_the_late(now)
    }

    /// Takes back the quota of a call that was not sent.
    pub(super) fn give_back(&mut self, grant: Grant, now: Nanos) {
        let now = self.at(now);
        self.counts.given_back = self.counts.given_back.saturating_add(1);
        self.meter.give_back(grant, now);
    }

    /// Gives up a place in the queue, and what was granted there.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Nanos) {
        if let Some(Place::Granted(grant)) = self.queue.as_mut().map(|queue| queue.leave(ticket)) {
            self.give_back(grant, now);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    pub(super) fn available(&self, now: Nanos) -> u32 {
        let now = now.max(self.latest);
        if now < self.paused_until || self.waiting() > 0 { 0 } else { self.meter.available(now) }
    }

    /// What is left of a pause; 0 when there is none.
    pub(super) fn pause_left(&self, now: Nanos) -> Nanos {
        self.paused_until.saturating_sub(now.max(self.latest))
    }

    pub(super) fn counts_by(&self, quota: Quota) -> bool {
        self.meter.counts_by(quota)
    }

    /// Whether a new limiter of the same quota would do the same from here on.
    pub(super) fn is_idle(&self, now: Nanos) -> bool {
        let now = now.max(self.latest);
        now >= self.paused_until && self.queue.as_ref().is_none_or(|queue| queue.is_unused()) && self.meter.is_idle(now)
    }

    fn at(&mut self, now: Nanos) -> Nanos {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// When the one with `ahead` others before it passes, if nobody leaves.
    fn turn(&self, ahead: usize, now: Nanos) -> Nanos {
        self.meter.nth(ahead, now.max(self.paused_until))
    }

    /// Says no to one whose `turn` comes too late.
    fn late(&self, turn: Nanos, bounds: Bounds, now: Nanos) -> Refusal {
        Refusal::late(bounds.passed_by(self.paused_until, now), turn, now)
    }

    /// Counts a call that somebody refused.
    pub(super) fn count_refusal(&mut self) {
        self.counts.refused = self.counts.refused.saturating_add(1);
    }

    fn serve(&mut self, ticket: Ticket, word: Place) -> Option<Waker> {
        let count = match word {
            Place::Granted(_) => {
                self.counts.waited = self.counts.waited.saturating_add(1);
                &mut self.counts.granted
            }
            _ => &mut self.counts.refused,
        };
        *count = count.saturating_add(1);
        self.queue.as_mut()?.serve(ticket, word)
    }

    fn refuse_the_late(&mut self, now: Nanos) -> Vec<Waker> {
        let now = self.at(now);
        let Some(queue) = &self.queue else { return Vec::new() };
        let (mut stay, mut late) = (0, Vec::new());
        for (ticket, bounds) in queue.waiting() {
            let turn = self.turn(stay, now);
            if bounds.are_passed(turn, now) {
                late.push((ticket, self.late(turn, bounds, now)));
            } else {
                stay += 1;
            }
        }
        late.into_iter().filter_map(|(ticket, refusal)| self.serve(ticket, Place::Refused(refusal))).collect()
    }

    /// Sees to it that the head's timer goes off at `turn`.
    fn tell_head(&mut self, head: Ticket, turn: Nanos, wakes: &mut Wakes) {
        let fine = match self.alarm {
            Alarm::Off => false,
            Alarm::Told(told) => told == head,
            Alarm::Set(set, at) => set == head && at <= turn,
        };
        if !fine {
            self.alarm = Alarm::Told(head);
            wakes.add(self.queue.as_ref().and_then(|queue| queue.waker(head)));
        }
    }

    /// Notes when the head's timer goes off; nothing for the others.
    fn set_alarm(&mut self, ticket: Ticket, now: Nanos) -> Option<Nanos> {
        if !self.is_head(ticket) {
            return None;
        }
        let turn = self.turn(0, now);
        self.alarm = Alarm::Set(ticket, turn);
        Some(turn)
    }
}

#[cfg(test)]
mod tests;
