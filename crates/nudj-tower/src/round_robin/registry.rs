//! The list of endpoints, shared by a layer, its services and its handles.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    config::RoundRobinConfig,
    ejection,
    endpoint::{self, Endpoint},
    member::{Common, Member},
    pick::Picker,
};
use crate::{ConfigError, observe::Observers};

/// The last id given to an endpoint. One count for all balancers of the process: a call's context notes where it has been by these alone,
/// and goes through one after the other where they are nested.
static LAST_ID: AtomicU64 = AtomicU64::new(0);

pub(super) struct Registry {
    common: Arc<Common>,
    current: ArcSwap<Set>,
    /// That of `current`, to be read without loading it.
    version: AtomicU64,
    /// Held while the list changes.
    changing: Mutex<()>,
    /// Held while an ejection is decided.
    pub(super) judging: Mutex<()>,
    /// The names there are services for, where no more can be made.
    fixed: Option<Vec<Arc<str>>>,
}

/// The list between two changes.
pub(super) struct Set {
    pub(super) version: u64,
    pub(super) slots: Vec<Slot>,
    pub(super) picker: Picker,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) member: Arc<Member>,
    pub(super) endpoint: Endpoint,
}

impl Registry {
    /// `config` and `endpoints` are good. With `fixed` no endpoint of another name can be added later.
    pub(super) fn new(
        config: &RoundRobinConfig,
        endpoints: Vec<Endpoint>,
        observers: Observers,
        fixed: bool,
    ) -> Arc<Self> {
        let registry = Arc::new_cyclic(|registry| Self {
            common: Arc::new(Common {
                epoch: Instant::now(),
                outlier: config.outlier.clone(),
                observers,
                registry: registry.clone(),
            }),
            current: ArcSwap::from_pointee(Set { version: 0, slots: Vec::new(), picker: Picker::new([]) }),
            version: AtomicU64::new(0),
            changing: Mutex::default(),
            judging: Mutex::new(()),
            fixed: fixed.then(|| endpoints.iter().map(|endpoint| Arc::clone(endpoint.name())).collect()),
        });
        registry.replace(&registry.current.load_full(), endpoints);
        registry
    }

    pub(super) fn set(&self) -> arc_swap::Guard<Arc<Set>> {
        self.current.load()
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Puts another list in place. What is known of an endpoint that stays at its place stays, and the turns go on.
    pub(super) fn change(&self, edit: impl FnOnce(Vec<Endpoint>) -> Vec<Endpoint>) -> Result<(), ConfigError> {
        let _changing = self.changing.lock();
        let old = self.current.load_full();
        let endpoints = edit(self.endpoints());
        endpoint::validate(&endpoints)?;
        if let Some(fixed) = &self.fixed
            && let Some(unknown) = endpoints.iter().find(|endpoint| !fixed.contains(endpoint.name()))
        {
            let problem = format!("there is no service for {}; use RoundRobinLayer, which makes one", unknown.name());
            return Err(ConfigError::new("endpoints", problem));
        }
        self.replace(&old, endpoints);
        Ok(())
    }

    /// Only for who holds `changing`, or is the only one who has this.
    fn replace(&self, old: &Set, endpoints: Vec<Endpoint>) {
        let slots: Vec<Slot> = endpoints
            .into_iter()
            .map(|endpoint| {
                let survivor = old.slots.iter().find(|slot| slot.endpoint.is_same_place(&endpoint));
                let member = survivor.map_or_else(
                    || {
                        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
                        Arc::new(Member::new(id, Arc::clone(endpoint.name()), Arc::clone(&self.common)))
                    },
                    |slot| Arc::clone(&slot.member),
                );
                Slot { member, endpoint }
            })
            .collect();
        let weights: Vec<u32> = slots.iter().map(|slot| slot.endpoint.share()).collect();
        let picker = old.picker.resume(weights, |place| {
            let id = old.slots.get(place)?.member.id;
            slots.iter().position(|slot| slot.member.id == id)
        });
        let version = old.version + 1;
        self.current.store(Arc::new(Set { version, slots, picker }));
        self.version.store(version, Ordering::Release);
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        self.set().slots.iter().map(|slot| slot.endpoint.clone()).collect()
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Member>> {
        let set = self.set();
        set.slots.iter().find(|slot| &**slot.endpoint.name() == name).map(|slot| Arc::clone(&slot.member))
    }

    pub(super) fn has_room(&self, share: f64, now: Duration) -> bool {
        let set = self.set();
        let out = set.slots.iter().filter(|slot| slot.member.is_out_at(now)).count();
        ejection::has_room(set.slots.len(), out, share)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("slots", &self.set().slots).finish_non_exhaustive()
    }
}
