use std::{fmt, sync::Arc};

use super::{gate::Gate, keys::Leases, limiter::Admission, meter::Grant, queue::Ticket, rules::Rules};

/// What a layer's services and their calls share.
#[derive(Debug)]
pub(super) struct Shared<C, L> {
    pub(super) limiters: L,
    pub(super) rules: Rules<C>,
}

/// What a call holds of its limiter. Dropped, it gives up its place in the queue, or gives back quota that was not used.
pub(super) struct Guard<C, L: Leases> {
    shared: Arc<Shared<C, L>>,
    own: L::Own,
    held: Held,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    Nothing,
    Place(Ticket),
    /// Quota whose call was not sent.
    Unused(Grant),
    /// Quota whose call is on its way.
    Used(Grant),
}

impl<C, L: Leases> Guard<C, L> {
    pub(super) fn new(shared: &Arc<Shared<C, L>>, own: L::Own) -> Self {
        Self { shared: Arc::clone(shared), own, held: Held::Nothing }
    }

    pub(super) fn gate(&self) -> &Gate {
        self.shared.limiters.lease(&self.own).gate()
    }

    pub(super) fn rules(&self) -> &Rules<C> {
        &self.shared.rules
    }

    /// Takes quota if there is some now.
    pub(super) fn take(&mut self) -> bool {
        let gate = self.gate();
        match gate.take(gate.settings().now()) {
            Some(grant) => {
                self.held = Held::Unused(grant);
                true
            }
            None => false,
        }
    }

    /// There was no quota: from here on, and until the limiter's word, it stands in line.
    pub(super) fn line_up(&self) {
        self.shared.limiters.lease(&self.own).waits(true);
    }

    /// The place in the queue, where there is one.
    pub(super) fn place(&self) -> Option<Ticket> {
        match self.held {
            Held::Place(ticket) => Some(ticket),
            _ => None,
        }
    }

    /// Notes what the limiter said.
    pub(super) fn hold(&mut self, admission: &Admission) {
        self.held = match *admission {
            Admission::Granted(grant) => Held::Unused(grant),
            Admission::Waits { ticket, .. } => Held::Place(ticket),
            Admission::Refused(_) => Held::Nothing,
        };
        if self.place().is_none() {
            self.shared.limiters.lease(&self.own).waits(false);
        }
    }

    /// The call is about to be sent: from here on its quota is gone, however it ends.
    pub(super) fn spend(&mut self) {
        if let Held::Unused(grant) = self.held {
            self.held = Held::Used(grant);
        }
    }

    /// The call turned out not to have been sent: its quota goes to the next, now.
    pub(super) fn refund(&mut self) {
        if let Held::Used(grant) = self.held {
            self.held = Held::Unused(grant);
        }
        self.release();
    }

    fn release(&mut self) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        let gate = self.gate();
        match held {
            Held::Place(ticket) => {
                gate.leave(ticket, gate.settings().now());
                self.shared.limiters.lease(&self.own).waits(false);
            }
            Held::Unused(grant) => gate.give_back(grant, gate.settings().now()),
            Held::Nothing | Held::Used(_) => {}
        }
    }
}

impl<C, L: Leases> fmt::Debug for Guard<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("held", &self.held).finish_non_exhaustive()
    }
}

impl<C, L: Leases> Drop for Guard<C, L> {
    fn drop(&mut self) {
        self.release();
    }
}
