use std::{sync::Arc, time::Duration};

use super::{
    Endpoint,
    member::{Now, Seen},
    registry::Registry,
    weak::WeakRoundRobinHandle,
};
use crate::{Availability, Available, ConfigError};

/// Reads and changes the list of endpoints without a call. For limiters it is what knows whether any endpoint would take one.
///
/// A handle keeps the list alive, and with it the services that calls are cloned from.
#[derive(Clone, Debug)]
pub struct RoundRobinHandle {
    pub(super) registry: Arc<Registry>,
}

/// An endpoint as a handle sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointView {
    /// The endpoint's name.
    pub name: Arc<str>,
    /// Its weight.
    pub weight: u32,
    /// How many calls were sent to it.
    pub calls: u64,
    /// How many of them ended in a failure.
    pub failures: u64,
    /// How many are under way.
    pub in_flight: u64,
    /// Whether its breaker lets calls through.
    pub availability: Availability,
    /// Whether it is marked down.
    pub down: bool,
    /// How long it stays ejected.
    pub ejected_for: Option<Duration>,
}

impl RoundRobinHandle {
    /// A handle that does not keep the list.
    #[must_use]
    pub fn downgrade(&self) -> WeakRoundRobinHandle {
        WeakRoundRobinHandle::of(&self.registry)
    }

    /// The endpoints in their order.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointView> {
        let mut now = Now::unread();
        let set = self.registry.set();
        let view = |slot: &super::registry::Slot| {
            let Seen { calls, failures, in_flight, down, ejected_for } = slot.member.seen(&mut now);
            EndpointView {
                name: Arc::clone(slot.endpoint.name()),
                weight: slot.endpoint.share(),
                calls,
                failures,
                in_flight,
                availability: slot.member.availability(),
                down,
                ejected_for,
            }
        };
        set.slots.iter().map(view).collect()
    }

    /// Adds an endpoint at the end.
    ///
    /// # Errors
    /// When its weight is out of range, or its name is in the list already.
    pub fn add(&self, endpoint: Endpoint) -> Result<(), ConfigError> {
        self.registry.change(|mut list| {
            list.push(endpoint);
            list
        })
    }

    /// Takes the endpoint of this name out of the list; calls that are under way go on. Returns whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let mut found = false;
        let changed = self.registry.change(|mut list| {
            list.retain(|endpoint| {
                let is_it = &**endpoint.name() == name;
                found |= is_it;
                !is_it
            });
            list
        });
        changed.is_ok() && found
    }

    /// Puts this list in place of the old one. An endpoint of the same name and origin is the same endpoint: its counts, its breaker
    /// and its ejection stay, also with another weight.
    ///
    /// # Errors
    /// When a weight is out of range or a name is there twice; nothing has changed then.
    pub fn set(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<(), ConfigError> {
        self.registry.change(|_| endpoints.into_iter().collect())
    }

    /// Says that an endpoint is down, as an active health check finds out. It takes calls only when no other endpoint does. Returns
    /// whether there is an endpoint of this name.
    pub fn mark_down(&self, name: &str) -> bool {
        self.registry.find(name).is_some_and(|member| {
            member.mark_down();
            true
        })
    }

    /// Says that an endpoint is up, which ends an ejection too; if it was out, its failures are counted anew. Its breaker decides for
    /// itself. Returns whether there is an endpoint of this name.
    pub fn mark_up(&self, name: &str) -> bool {
        self.registry.find(name).is_some_and(|member| {
            member.mark_up();
            true
        })
    }
}

/// Unavailable when every endpoint's breaker refuses. An empty list is available, so that the call goes on to be told
/// [`Rejection::NoEndpoint`](crate::Rejection::NoEndpoint).
impl Available for RoundRobinHandle {
    fn availability(&self) -> Availability {
        let mut soonest: Option<Duration> = None;
        let set = self.registry.set();
        for slot in &set.slots {
            match slot.member.availability() {
                Availability::Available => return Availability::Available,
                Availability::Unavailable { retry_after } => soonest = sooner(soonest, retry_after),
            }
        }
        if set.slots.is_empty() { Availability::Available } else { Availability::Unavailable { retry_after: soonest } }
    }
}

/// The sooner of two hints; no hint says nothing.
pub(super) fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
