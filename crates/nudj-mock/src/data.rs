//! Data put in and looked at past the API.

use serde_json::{Map, Value, json};

use crate::{
    Control, MockError,
    api::{Failure, new_user},
    clock::parse_iso,
    store::{Records, User},
};

/// Data for a mock to start with. Hand it to [`Builder::seed`](crate::Builder::seed) or [`Control::load`].
#[derive(Debug, Clone, Default)]
pub struct Seed {
    users: Vec<Value>,
    records: Vec<(Records, Value)>,
}

impl Seed {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A small organisation: two communities, one of them with the slug `test-community`, a challenge with two actions, two
    /// rewards, an achievement and a leaderboard. No users.
    #[must_use]
    pub fn demo() -> Self {
        let challenge = "6e75646c0000000000000001";
        let actions = ["6e75646c0000000000000002", "6e75646c0000000000000003"];
        let action = |n: usize, title: &str| {
            json!({"id": actions.get(n), "communityId": "6e75646c0000000000000010", "allocationId": challenge,
                   "allocatedTo": "challenge", "position": n, "details": {"title": title}})
        };
        Self::new()
            .record(
                Records::Communities,
                json!({"id": "6e75646c0000000000000010", "name": "Test community", "slug": "test-community"}),
            )
            .record(Records::Communities, json!({"name": "Another community", "slug": "another-community"}))
            .record(
                Records::Challenges,
                json!({"id": challenge, "communityId": "6e75646c0000000000000010", "details": {"title": "First steps"},
                       "actionIds": actions, "numberOfActions": 2}),
            )
            .record(Records::Actions, action(0, "Read the welcome page"))
            .record(Records::Actions, action(1, "Follow us"))
            .record(
                Records::Rewards,
                json!({"details": {"title": "Sticker"}, "assetPointsPrice": 50, "status": "live"}),
            )
            .record(Records::Rewards, json!({"details": {"title": "Mug"}, "assetPointsPrice": 500, "status": "live"}))
            .record(Records::Achievements, json!({"details": {"title": "Beginner"}}))
            .record(Records::Leaderboards, json!({"name": "All time"}))
    }

    /// Adds a user, with the fields that creating one takes.
    #[must_use]
    pub fn user(mut self, user: Value) -> Self {
        self.users.push(user);
        self
    }

    /// Adds a record. Fields that the documentation requires are filled in, an `id` too when it has none.
    #[must_use]
    pub fn record(mut self, to: Records, record: Value) -> Self {
        self.records.push((to, record));
        self
    }
}

impl Control {
    /// Puts a seed's data in, in its order. What came before a refused record stays in.
    ///
    /// # Errors
    /// [`MockError::Data`] for what is no object, what the API would refuse, or what no longer fits.
    pub fn load(&self, seed: &Seed) -> Result<(), MockError> {
        for (to, record) in &seed.records {
            self.add_record(*to, record)?;
        }
        for user in &seed.users {
            self.add_user(user)?;
        }
        Ok(())
    }

    /// Puts a record in, or replaces the one with its `id`, and gives it as it is kept. Fields that the documentation requires are
    /// filled in.
    ///
    /// # Errors
    /// [`MockError::Data`] when it is no object, its `id` is no string, or the collection is full.
    pub fn add_record(&self, to: Records, record: &Value) -> Result<Value, MockError> {
        let given: Map<String, Value> = record
            .as_object()
            .cloned()
            .ok_or_else(|| MockError::Data { what: to.name(), reason: "it must be an object".to_owned() })?;
        let now = self.core.world.clock.millis();
        self.store(|store| store.add(to, given, now)).map_err(|failure| refused(to.name(), failure))
    }

    /// A record as it is kept.
    #[must_use]
    pub fn record(&self, of: Records, id: &str) -> Option<Value> {
        self.store(|store| store.collection(of).get(id).ok().cloned())
    }

    /// How many records there are of a kind.
    #[must_use]
    pub fn records_count(&self, of: Records) -> usize {
        self.store(|store| store.collection(of).len())
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

    /// Every user that lists show, in the order of creation.
    #[must_use]
    pub fn users(&self) -> Vec<Value> {
        self.store(|store| store.users.visible().map(User::to_json).collect())
    }

    /// The id of the token's own user, whom `GET /integration/me` shows; `None` when it was deleted.
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
        let new = new_user(user).map_err(|failure| refused("a user", failure))?;
        self.store(|store| {
            let id = store.ids.next();
            store.users.create(id, new, now).map(User::to_json).map_err(|failure| refused("a user", failure))
        })
    }

    /// Changes profile fields of a user past the API, as someone else's edit would. Each field replaces the one there, `null` takes
    /// it out; an `updatedAt` (ISO-8601) sets that time, else it is the mock's now. Identity, points and the other fields that the
    /// mock itself keeps are not changed this way.
    ///
    /// # Errors
    /// [`MockError::Data`] when there is no such user, the change is no object, or `updatedAt` is no timestamp.
    pub fn edit_user(&self, id: &str, change: &Value) -> Result<Value, MockError> {
        let what = "an edit of a user";
        let wrong = |reason: &str| MockError::Data { what, reason: reason.to_owned() };
        let fields = change.as_object().ok_or_else(|| wrong("it must be an object"))?;
        let at = match fields.get("updatedAt") {
            Some(at) => at.as_str().and_then(parse_iso).ok_or_else(|| wrong("updatedAt must be ISO-8601"))?,
            None => self.core.world.clock.millis(),
        };
        self.store(|store| {
            let edited = store.users.edit(id, |user| {
                for (name, value) in fields.iter().filter(|(name, _)| User::is_profile(name)) {
                    match value {
                        Value::Null => user.profile.remove(name),
                        value => user.profile.insert(name.clone(), value.clone()),
                    };
                }
                user.updated_at = at;
            });
            edited.map(User::to_json).map_err(|failure| refused(what, failure))
        })
    }

    /// The custom events that were logged, oldest first, as many as are kept (50 000 unless set otherwise, 64 MiB).
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.store(|store| store.events.iter().cloned().collect())
    }

    /// How many points transactions were made.
    #[must_use]
    pub fn transactions_count(&self) -> usize {
        self.store(|store| store.transactions.len())
    }
}

fn refused(what: &'static str, failure: Failure) -> MockError {
    MockError::Data { what, reason: failure.message }
}
