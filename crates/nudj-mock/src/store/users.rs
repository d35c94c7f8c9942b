//! Users: typed, since a demo or a test may make a hundred thousand of them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::ORGANISATION_ID;
use crate::{
    api::Failure,
    clock::{Millis, iso},
};

/// A user as the documentation describes it; what it leaves optional is left out when missing.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) external_user_id: Option<String>,
    pub(crate) points: f64,
    pub(crate) keys: f64,
    pub(crate) xp: f64,
    pub(crate) challenges_completed: u64,
    pub(crate) rewards_earned: u64,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) anonymous: bool,
    /// Personal data erased; the record stays.
    pub(crate) deleted: bool,
    /// The token's own user: can be read by id, but is in no list and no count.
    pub(crate) hidden: bool,
    /// Profile fields: displayName, bio, profilePictureUrl and whatever else was set.
    pub(crate) profile: Map<String, Value>,
    /// What a search looks at, in lower case.
    searched: String,
}

/// What a user has besides the profile, and [`to_json`](User::to_json) fills in itself.
const KEPT: [&str; 13] = [
    "id",
    "organisationId",
    "username",
    "email",
    "externalUserId",
    "points",
    "keys",
    "xp",
    "communityData",
    "roles",
    "isAnonymous",
    "createdAt",
    "updatedAt",
];

/// What is asked of a new user.
#[derive(Debug, Default, Clone)]
pub(crate) struct NewUser {
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) external_user_id: Option<String>,
    pub(crate) anonymous: bool,
    pub(crate) profile: Map<String, Value>,
}

/// Which unique field is taken by another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Email,
    ExternalUserId,
}

impl User {
    pub(crate) fn service_account(id: String, now: Millis) -> Self {
        let new = NewUser {
            email: "service@nudj-mock.invalid".to_owned(),
            username: "service".to_owned(),
            ..NewUser::default()
        };
        // Keys to unlock challenges with, which no documented call gives.
        Self { hidden: true, keys: 100.0, ..Self::new(id, new, now) }
    }

    fn new(id: String, new: NewUser, now: Millis) -> Self {
        Self {
            id,
            username: new.username,
            email: new.email,
            external_user_id: new.external_user_id,
            points: 0.0,
            keys: 0.0,
            xp: 0.0,
            challenges_completed: 0,
            rewards_earned: 0,
            created_at: now,
            updated_at: now,
            anonymous: new.anonymous,
            deleted: false,
            hidden: false,
            profile: new.profile,
            searched: String::new(),
        }
    }

    /// Whether a field is the profile's, and not one that the mock keeps itself.
    pub(crate) fn is_profile(field: &str) -> bool {
        !KEPT.contains(&field)
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut user = self.profile.clone();
        let mut set = |name: &str, value: Value| user.insert(name.to_owned(), value);
        set("id", json!(self.id));
        set("organisationId", json!(ORGANISATION_ID));
        set("username", json!(self.username));
        set("email", json!(self.email));
        if let Some(external) = &self.external_user_id {
            set("externalUserId", json!(external));
        }
        set("points", json!(self.points));
        set("keys", json!(self.keys));
        set("xp", xp(self.xp));
        set("communityData", json!([]));
        set("roles", json!([]));
        set("isAnonymous", json!(self.anonymous));
        set("createdAt", json!(iso(self.created_at)));
        set("updatedAt", json!(iso(self.updated_at)));
        Value::Object(user)
    }

    /// True when `needle`, in lower case, occurs in the id, a name, the email or the external id.
    pub(crate) fn contains(&self, needle: &str) -> bool {
        self.searched.contains(needle)
    }

    /// To be called after each change: a search over a hundred thousand users has no time to fold the case of each.
    fn index(&mut self) {
        let display = self.profile.get("displayName").and_then(Value::as_str);
        let fields = [
            Some(self.id.as_str()),
            Some(&self.email),
            Some(&self.username),
            self.external_user_id.as_deref(),
            display,
        ];
        let fields: Vec<&str> = fields.into_iter().flatten().collect();
        self.searched = fields.join("\n").to_lowercase();
    }
}

/// The documented shape of experience points.
pub(crate) fn xp(total: f64) -> Value {
    json!({"total": total, "knowledge": 0, "creativity": 0, "loyalty": 0, "influence": 0, "participation": 0, "contribution": 0})
}

/// `needle` is in lower case.
pub(crate) fn contains_ignoring_case(text: &str, needle: &str) -> bool {
    text.contains(needle) || text.to_lowercase().contains(needle)
}

/// All users, in the order of creation.
#[derive(Debug)]
pub(crate) struct Users {
    most: usize,
    /// Nothing is unique; the indexes then know the latest.
    duplicates: bool,
    records: Vec<User>,
    by_id: HashMap<String, usize>,
    by_email: HashMap<String, usize>,
    by_external_id: HashMap<String, usize>,
    me: String,
    visible: usize,
}

impl Users {
    pub(crate) fn new(me: User, most: usize, duplicates: bool) -> Self {
        let mut users = Self {
            most,
            duplicates,
            records: Vec::new(),
            by_id: HashMap::new(),
            by_email: HashMap::new(),
            by_external_id: HashMap::new(),
            me: me.id.clone(),
            visible: 0,
        };
        users.push(me);
        users
    }

    fn push(&mut self, mut user: User) {
        user.index();
        let index = self.records.len();
        self.by_id.insert(user.id.clone(), index);
        if !user.email.is_empty() {
            self.by_email.insert(user.email.to_lowercase(), index);
        }
        if let Some(external) = &user.external_user_id {
            self.by_external_id.insert(external.clone(), index);
        }
        self.visible += usize::from(!user.hidden);
        self.records.push(user);
    }

    /// Which unique field another user than `but` has already.
    pub(crate) fn taken(&self, email: Option<&str>, external_id: Option<&str>, but: Option<&str>) -> Option<Taken> {
        if self.duplicates {
            return None;
        }
        let other = |index: &usize| self.records.get(*index).is_some_and(|user| Some(user.id.as_str()) != but);
        let email = email.filter(|email| !email.is_empty()).and_then(|email| self.by_email.get(&email.to_lowercase()));
        let external = external_id.and_then(|id| self.by_external_id.get(id));
        let email = email.filter(|index| other(index)).map(|_| Taken::Email);
        email.or_else(|| external.filter(|index| other(index)).map(|_| Taken::ExternalUserId))
    }

    pub(crate) fn create(&mut self, id: String, new: NewUser, now: Millis) -> Result<&User, Failure> {
        if let Some(taken) = self.taken(Some(&new.email), new.external_user_id.as_deref(), None) {
            return Err(Failure::taken(taken));
        }
        // The token's own user is not counted.
        if self.records.len() > self.most {
            return Err(Failure::full("User"));
        }
        self.push(User::new(id, new, now));
        self.records.last().ok_or_else(|| Failure::internal("no user after one was made"))
    }

    pub(crate) fn get(&self, id: &str) -> Result<&User, Failure> {
        let found = self.by_id.get(id).and_then(|index| self.records.get(*index));
        found.filter(|user| !user.deleted).ok_or_else(|| Failure::not_found("User"))
    }

    /// By Nudj id or external id.
    pub(crate) fn resolve(&self, id: &str) -> Result<&User, Failure> {
        self.get(id).or_else(|missing| match self.by_external_id.get(id).and_then(|index| self.records.get(*index)) {
            Some(user) if !user.deleted => Ok(user),
            _ => Err(missing),
        })
    }

    /// The record as it is kept, erased or not.
    pub(crate) fn record(&self, id: &str) -> Option<&User> {
        self.by_id.get(id).and_then(|index| self.records.get(*index))
    }

    pub(crate) fn me(&self) -> Result<&User, Failure> {
        self.get(&self.me)
    }

    /// Changes a user and keeps the indexes right. The caller has made sure that unique fields are free.
    pub(crate) fn edit(&mut self, id: &str, change: impl FnOnce(&mut User)) -> Result<&User, Failure> {
        self.get(id)?;
        let index = self.by_id.get(id).copied().unwrap_or(usize::MAX);
        let user = self.records.get_mut(index).ok_or_else(|| Failure::not_found("User"))?;
        let (email, external) = (user.email.to_lowercase(), user.external_user_id.clone());
        let was = user.deleted;
        change(user);
        user.index();
        let (new_email, new_external) = (user.email.to_lowercase(), user.external_user_id.clone());
        if user.deleted && !was && !user.hidden {
            self.visible = self.visible.saturating_sub(1);
        }
        if new_email != email {
            self.by_email.remove(&email);
            if !new_email.is_empty() {
                self.by_email.insert(new_email, index);
            }
        }
        if new_external != external {
            if let Some(external) = external {
                self.let_go(&external, index);
            }
            if let Some(external) = new_external {
                self.by_external_id.insert(external, index);
            }
        }
        self.records.get(index).ok_or_else(|| Failure::not_found("User"))
    }

    /// A user gives an external id back. Where several may have it, it then means the latest of the others.
    fn let_go(&mut self, external: &str, index: usize) {
        if self.by_external_id.get(external) != Some(&index) {
            return;
        }
        let has = |user: &User| !user.deleted && user.external_user_id.as_deref() == Some(external);
        match self.duplicates.then(|| self.records.iter().rposition(has)).flatten() {
            Some(other) => self.by_external_id.insert(external.to_owned(), other),
            None => self.by_external_id.remove(external),
        };
    }

    /// Erases personal data. The record stays, with markers in place of email and username.
    pub(crate) fn erase(&mut self, id: &str, now: Millis) -> Result<&User, Failure> {
        self.edit(id, |user| {
            user.email = format!("deleted-{}@deleted.invalid", user.id);
            user.username = format!("deleted-{}", user.id);
            user.external_user_id = None;
            user.profile.clear();
            user.anonymous = true;
            user.deleted = true;
            user.updated_at = now;
        })
    }

    /// Those that lists show.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &User> {
        self.records.iter().filter(|user| !user.deleted && !user.hidden)
    }

    /// How many lists show.
    pub(crate) fn count(&self) -> usize {
        self.visible
    }
}
