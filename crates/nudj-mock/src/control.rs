//! What a test sees of the mock, and what it can do to it.

use std::sync::{Arc, atomic::Ordering};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    Fault, FaultId, MockError, Received, RecordedRequest,
    api::new_user,
    clock::parse_iso,
    error::lock,
    exchange::Core,
    store::{Store, User},
};

/// The side of the mock that a test talks to: faults go in, what arrived comes out, data can be put in and looked at.
///
/// Both [`MockNudj`](crate::MockNudj) and [`MockService`](crate::MockService) deref to it. It is cheap to clone, and clones see
/// the same state.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) core: Arc<Core>,
}

impl Control {
    fn store<T>(&self, read: impl FnOnce(&mut Store) -> T) -> T {
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

    /// The requests that arrived, oldest first, as far as the log goes back (10 000 requests, 16 MiB of bodies, unless set
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

    /// How many users there are, the erased ones and the token's own not counted.
    #[must_use]
    pub fn users_count(&self) -> usize {
        self.store(|store| store.users.count())
    }

    /// A user's record as it is kept, also after it was erased, when the API already answers "User not found".
    #[must_use]
    pub fn user_record(&self, id: &str) -> Option<Value> {
        self.store(|store| store.users.record(id).map(User::to_json))
    }

    /// The id of the token's own user, whom `GET /integration/me` shows.
    #[must_use]
    pub fn me(&self) -> Option<String> {
        self.store(|store| store.users.me().ok().map(|me| me.id.clone()))
    }

    /// Creates a user past the API and gives the record.
    ///
    /// # Errors
    /// [`MockError::Data`] for what the API would refuse: no email, or one that is taken.
    pub fn add_user(&self, user: &Value) -> Result<Value, MockError> {
        let now = self.core.world.clock.millis();
        let refused = |failure: crate::api::Failure| MockError::Data { what: "a user", reason: failure.message };
        let new = new_user(user).map_err(refused)?;
        self.store(|store| {
            let id = store.ids.next();
            store.users.create(id, new, now).map(User::to_json).map_err(refused)
        })
    }

    /// Changes profile fields of a user past the API, as someone else's edit would. Each field replaces the one there; an
    /// `updatedAt` (ISO-8601) sets that time, else it is the mock's now.
    ///
    /// # Errors
    /// [`MockError::Data`] when there is no such user, the change is no object, or `updatedAt` is no timestamp.
    pub fn edit_user(&self, id: &str, change: &Value) -> Result<Value, MockError> {
        let refused = |reason: &str| MockError::Data { what: "an edit of a user", reason: reason.to_owned() };
        let fields = change.as_object().ok_or_else(|| refused("it must be an object"))?;
        let at = match fields.get("updatedAt") {
            Some(at) => at.as_str().and_then(parse_iso).ok_or_else(|| refused("updatedAt must be ISO-8601"))?,
            None => self.core.world.clock.millis(),
        };
        self.store(|store| {
            let edited = store.users.edit(id, |user| {
                for (name, value) in fields.iter().filter(|(name, _)| name.as_str() != "updatedAt") {
                    user.profile.insert(name.clone(), value.clone());
                }
                user.updated_at = at;
            });
            edited.map(User::to_json).map_err(|failure| refused(&failure.message))
        })
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
        self.store(|store| store.tokens.retire(token, std::time::Duration::ZERO, Instant::now()))
    }
}
