//! What a test sees of the mock, and what it can do to it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Fault, FaultId, Received, RecordedRequest, error::lock, exchange::Core, store::Store};

/// The side of the mock that a test talks to: faults go in, what arrived comes out, data can be put in and looked at.
///
/// Both [`MockNudj`](crate::MockNudj) and [`MockService`](crate::MockService) deref to it. It is cheap to clone, and clones see
/// the same state.
#[derive(Clone)]
pub struct Control {
    pub(crate) core: Arc<Core>,
}

impl Control {
    pub(crate) fn store<T>(&self, read: impl FnOnce(&mut Store) -> T) -> T {
        read(&mut lock(&self.core.world.store))
    }

    /// Puts a fault behind those that are there. At most 1024 are kept; then the oldest goes.
    pub fn inject(&self, fault: Fault) -> FaultId {
        lock(&self.core.rules).add(fault)
    }

    /// Takes a fault out; false when it is not there any more.
    pub fn remove_fault(&self, id: FaultId) -> bool {
        lock(&self.core.rules).remove(id)
    }

    /// Takes all faults out.
    pub fn clear_faults(&self) {
        lock(&self.core.rules).clear();
    }

    /// How many requests a fault has struck so far; 0 when it is not there any more.
    #[must_use]
    pub fn fired(&self, id: FaultId) -> u64 {
        lock(&self.core.rules).fired(id)
    }

    /// The requests that arrived, oldest first, as far as the log goes back (10 000 requests, 16 MiB, unless set
    /// otherwise).
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.core.log).requests()
    }

    /// The same requests, to be narrowed and counted.
    #[must_use]
    pub fn received(&self) -> Received {
        Received::new(self.requests())
    }

    /// How many requests arrived since the start, whether or not the log still has them.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        lock(&self.core.log).total()
    }

    /// Empties the request log. [`request_count`](Control::request_count) goes on counting.
    pub fn clear_requests(&self) {
        lock(&self.core.log).clear();
    }

    /// How many sockets all instances accepted since the start.
    #[must_use]
    pub fn accepted_connections(&self) -> u64 {
        self.core.accepted.iter().map(|accepted| accepted.load(Ordering::Relaxed)).sum()
    }

    /// How many sockets one instance accepted since the start; 0 for an instance that is not there.
    #[must_use]
    pub fn accepted_connections_of(&self, instance: usize) -> u64 {
        self.core.accepted.get(instance).map_or(0, |accepted| accepted.load(Ordering::Relaxed))
    }

    /// Turns deduplication by `Idempotency-Key` on or off. On, a repeated POST, PATCH or PUT with the same key gets the first answer
    /// again, marked `idempotent-replayed: true`; the same key with a different request gets 422. The public reference documents
    /// no such header, so it is off unless the builder turns it on.
    pub fn set_idempotency(&self, on: bool) {
        self.store(|store| store.idempotency.set(on));
    }

    /// Makes a further token valid.
    pub fn add_token(&self, token: impl Into<String>) {
        self.store(|store| store.tokens.add(token.into()));
    }

    /// Ends a token at once: its next use is answered 401. False when it was not known.
    pub fn revoke_token(&self, token: &str) -> bool {
        self.store(|store| store.tokens.retire(token, Duration::ZERO, Instant::now()))
    }

    /// Makes a token that is good for `lifetime`, as the token endpoint would.
    #[must_use]
    pub fn issue_token(&self, lifetime: Duration) -> String {
        self.store(|store| store.tokens.issue(Some(lifetime), Instant::now()))
    }
}

/// Shows no data: it may hold secrets.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("requests", &self.request_count()).finish_non_exhaustive()
    }
}
