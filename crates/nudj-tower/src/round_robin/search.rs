//! One attempt's search for an endpoint that takes it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    future::Chosen,
    handle::sooner,
    member::{Member, Now},
    pick::{Candidates, Many, Places},
    service::{List, Shared},
};
use crate::{Availability, Available, BoxError, CallContext, Rejection};

pub(super) struct Search {
    pub(super) context: Option<CallContext>,
    /// Whether this call has been somewhere before.
    again: bool,
    /// Endpoints that handed the request back. None on the path where all is well, so no allocation.
    passed: Vec<u64>,
    soonest: Option<Duration>,
    error: Option<BoxError>,
}

/// Where the request goes next.
pub(super) struct Found {
    pub(super) place: usize,
    /// How many healthy endpoints are left that the call has not been to, once it has been here.
    pub(super) untried: u32,
}

impl Search {
    #[inline]
    pub(super) fn new(context: Option<CallContext>) -> Self {
        let again = context.as_ref().is_some_and(|context| context.tries() > 0);
        Self { context, again, passed: Vec::new(), soonest: None, error: None }
    }

    /// Takes the turn of the best endpoint, or says why there is none.
    pub(super) fn next<S: Available>(&mut self, list: &List<S>) -> Result<Found, BoxError> {
        if let ([slot], [service]) = (&*list.set.slots, &*list.services)
            && self.passed.is_empty()
            && matches!(service.availability(), Availability::Available)
            // Asked, and not only known: whoever asks after the time of an ejection takes the endpoint back.
            && !slot.member.is_out(&mut Now::unread())
        {
            // Most clients have one endpoint: there is nothing to choose, and it is always its turn.
            return Ok(Found { place: 0, untried: 0 });
        }
        if list.services.len() <= u64::FEW { self.next_of::<u64, S>(list) } else { self.next_of::<Many, S>(list) }
    }

    fn next_of<P: Places, S: Available>(&mut self, list: &List<S>) -> Result<Found, BoxError> {
        let mut now = Now::unread();
        let mut candidates = Candidates::<P>::default();
        let mut soonest = None;
        for (place, (slot, service)) in list.set.slots.iter().zip(&list.services).enumerate() {
            if !self.passed.is_empty() && self.passed.contains(&slot.member.id) {
                continue;
            }
            match service.availability() {
                Availability::Available if slot.member.is_out(&mut now) => candidates.out.insert(place),
                Availability::Available => candidates.healthy.insert(place),
                Availability::Unavailable { retry_after } => soonest = sooner(soonest, retry_after),
            }
        }
        if self.again
            && let Some(context) = &self.context
        {
            for (place, slot) in list.set.slots.iter().enumerate() {
                if context.has_tried(slot.member.id) {
                    candidates.tried.insert(place);
                }
            }
        }
        match candidates.preferred().and_then(|places| list.set.picker.pick(self.again, &places)) {
            Some(place) => Ok(Found { place, untried: candidates.untried_after(place) }),
            None => Err(self.refuse(list.services.is_empty(), soonest)),
        }
    }

    /// When dropping the call begins to speak against `member`; not asked for where nobody judges.
    #[inline]
    pub(super) fn deadline(&self, member: &Member) -> Option<Instant> {
        member.common.outlier.as_ref().and(self.context.as_ref())?.deadline()
    }

    /// The endpoint with this id refused the request before it was sent.
    pub(super) fn refused(&mut self, id: u64, rejection: Rejection) {
        self.passed.push(id);
        self.soonest = sooner(self.soonest, rejection.retry_after());
        if !matches!(rejection, Rejection::CircuitOpen { .. }) {
            self.error = Some(rejection.into());
        }
    }

    /// The endpoint with this id cannot become ready.
    pub(super) fn broken(&mut self, id: u64, error: BoxError) {
        self.passed.push(id);
        self.error = Some(error);
    }

    #[cold]
    fn refuse(&mut self, empty: bool, soonest: Option<Duration>) -> BoxError {
        if let Some(context) = &self.context {
            context.set_untried_endpoints(0);
        }
        if empty {
            return Rejection::NoEndpoint.into();
        }
        let retry_after = sooner(self.soonest, soonest);
        self.error.take().unwrap_or_else(|| Rejection::CircuitOpen { endpoint: None, retry_after }.into())
    }
}

impl<S: Available + Clone> Shared<S> {
    /// Clones the service whose turn it is.
    pub(super) fn next(&self, search: &mut Search) -> Result<Chosen<S>, BoxError> {
        let list = self.list();
        let Found { place, untried } = search.next(&list)?;
        Ok(Chosen { member: Arc::clone(&list.set.slots[place].member), service: list.services[place].clone(), untried })
    }
}
