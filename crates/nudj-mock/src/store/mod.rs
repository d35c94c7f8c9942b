//! What the mock knows: one organisation's data, in memory, each collection bounded.

mod collection;
mod idempotency;
mod journal;
mod records;
mod tokens;
mod users;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{api::Failure, clock::Millis};

pub use records::Records;

pub(crate) use collection::Collection;
pub(crate) use idempotency::{Idempotency, Seen, digest};
pub(crate) use journal::Journal;
pub(crate) use tokens::Tokens;
pub(crate) use users::{NewUser, Taken, User, Users, contains_ignoring_case};

/// The organisation all data belongs to.
pub(crate) const ORGANISATION_ID: &str = "6e75646a0000000000000001";

/// One event's payload may be as large as a request; so may a line of the delivery log.
const MOST_JOURNAL_BYTES: usize = 64 * 1024 * 1024;

/// A line of the delivery log holds two bodies, so fewer are kept.
const MOST_WEBHOOK_LOGS: usize = 5000;

/// How many records each collection holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) users: usize,
    /// Of every other collection.
    pub(crate) records: usize,
    /// Whether several users may have one email address or external id.
    pub(crate) duplicates: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { users: 250_000, records: 50_000, duplicates: false }
    }
}

/// Makes ids: 24 hexadecimal digits, as documented, in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    pub(crate) fn next(&mut self) -> String {
        self.0 = self.0.wrapping_add(1);
        // The first eight digits spell "nudk", so that no id is the organisation's.
        format!("6e75646b{:016x}", self.0)
    }
}

/// Everything that requests read and change.
pub(crate) struct Store {
    pub(crate) ids: Ids,
    pub(crate) tokens: Tokens,
    pub(crate) idempotency: Idempotency,
    pub(crate) users: Users,
    pub(crate) challenges: Collection,
    pub(crate) challenge_groups: Collection,
    /// Who started which challenge; the id is challenge and user.
    pub(crate) progress: Collection,
    pub(crate) actions: Collection,
    pub(crate) participations: Collection,
    pub(crate) rewards: Collection,
    pub(crate) reward_assets: Collection,
    pub(crate) reward_entries: Collection,
    pub(crate) communities: Collection,
    pub(crate) achievements: Collection,
    pub(crate) leaderboards: Collection,
    pub(crate) transactions: Collection,
    /// The external references of all transactions.
    pub(crate) references: HashSet<String>,
    pub(crate) links: Collection,
    pub(crate) events: Journal,
    pub(crate) webhook_configs: Vec<Value>,
    pub(crate) webhook_logs: Journal,
}

impl Store {
    pub(crate) fn new(limits: Limits, tokens: Tokens, idempotency: Idempotency, now: Millis) -> Self {
        let mut ids = Ids::default();
        let me = User::service_account(ids.next(), now);
        let named = |name| Collection::new(name, limits.records);
        let of = |records: Records| named(records.name());
        Self {
            ids,
            tokens,
            idempotency,
            users: Users::new(me, limits.users, limits.duplicates),
            challenges: of(Records::Challenges),
            challenge_groups: of(Records::ChallengeGroups),
            progress: named("Challenge progress"),
            actions: of(Records::Actions),
            participations: named("Action participation"),
            rewards: of(Records::Rewards),
            reward_assets: of(Records::RewardAssets),
            reward_entries: of(Records::RewardEntries),
            communities: of(Records::Communities),
            achievements: of(Records::Achievements),
            leaderboards: of(Records::Leaderboards),
            transactions: named("Points transaction"),
            references: HashSet::new(),
            links: named("Link"),
            events: Journal::new(limits.records, MOST_JOURNAL_BYTES),
            webhook_configs: Vec::new(),
            webhook_logs: Journal::new(limits.records.min(MOST_WEBHOOK_LOGS), MOST_JOURNAL_BYTES),
        }
    }

    pub(crate) fn collection(&mut self, of: Records) -> &mut Collection {
        match of {
            Records::Challenges => &mut self.challenges,
            Records::ChallengeGroups => &mut self.challenge_groups,
            Records::Actions => &mut self.actions,
            Records::Rewards => &mut self.rewards,
            Records::RewardAssets => &mut self.reward_assets,
            Records::RewardEntries => &mut self.reward_entries,
            Records::Communities => &mut self.communities,
            Records::Achievements => &mut self.achievements,
            Records::Leaderboards => &mut self.leaderboards,
        }
    }

    /// Adds a record, filling in what the documentation requires.
    pub(crate) fn add(&mut self, to: Records, given: Map<String, Value>, now: Millis) -> Result<Value, Failure> {
        let id = match given.get("id") {
            Some(id) => id.as_str().ok_or_else(|| Failure::invalid("its id must be a string"))?.to_owned(),
            None => self.ids.next(),
        };
        self.collection(to).put(to.complete(&id, given, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_documented_form_and_differ() {
        let mut ids = Ids::default();
        let (one, two) = (ids.next(), ids.next());
        assert_ne!(one, two);
        assert!(one.len() == 24 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
