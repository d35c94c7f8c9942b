use super::{keys::Lease, limiter::Admission, meter::Grant, queue::Ticket};

/// What a call holds of its limiter. Dropped, it gives up its place in the queue, or gives back quota that was not used.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) lease: Lease,
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

impl Guard {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease, held: Held::Nothing }
    }

    /// Takes quota if there is some now.
    pub(super) fn take(&mut self) -> bool {
        let gate = self.lease.gate();
        match gate.take(gate.settings().now()) {
            Some(grant) => {
                self.held = Held::Unused(grant);
                true
            }
            None => false,
        }
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
        let gate = self.lease.gate();
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Place(ticket) => gate.leave(ticket, gate.settings().now()),
            Held::Unused(grant) => gate.give_back(grant, gate.settings().now()),
            Held::Nothing | Held::Used(_) => {}
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.release();
    }
}
