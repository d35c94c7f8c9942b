//! What the mock knows: one organisation's data, in memory, each collection bounded.

mod collection;
mod idempotency;
mod tokens;
mod users;

use std::collections::VecDeque;

use serde_json::Value;

use crate::clock::Millis;

pub(crate) use collection::Collection;
pub(crate) use idempotency::{Idempotency, Seen};
pub(crate) use tokens::Tokens;
pub(crate) use users::{NewUser, Taken, User, Users};

/// The organisation all data belongs to.
pub(crate) const ORGANISATION_ID: &str = "6e75646a0000000000000001";

/// How many records each collection holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) users: usize,
    /// Of every other collection.
    pub(crate) records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { users: 250_000, records: 50_000 }
    }
}

/// Makes ids: 24 hexadecimal digits, as documented, in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    pub(crate) fn next(&mut self) -> String {
        self.0 = self.0.wrapping_add(1);
        // The first eight digits spell "nudj".
        format!("6e75646b{:016x}", self.0)
    }
}

/// Everything that requests read and change.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) ids: Ids,
    pub(crate) tokens: Tokens,
    pub(crate) idempotency: Idempotency,
    pub(crate) users: Users,
    pub(crate) challenges: Collection,
}

impl Store {
    pub(crate) fn new(limits: Limits, tokens: Tokens, idempotency: Idempotency, now: Millis) -> Self {
        let mut ids = Ids::default();
        let me = User::service_account(ids.next(), now);
        Self {
            ids,
            tokens,
            idempotency,
            users: Users::new(me, limits.users),
            challenges: Collection::new("Challenge", limits.records),
        }
    }
}

/// A ring of the newest records.
#[derive(Debug)]
pub(crate) struct Journal {
    most: usize,
    kept: VecDeque<Value>,
}

impl Journal {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, record: Value) {
        if self.kept.len() >= self.most {
            self.kept.pop_front();
        }
        if self.most > 0 {
            self.kept.push_back(record);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.kept.iter()
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

    #[test]
    fn a_journal_keeps_the_newest() {
        let mut journal = Journal::new(2);
        (0..5).for_each(|n| journal.push(n.into()));
        assert_eq!(journal.iter().collect::<Vec<_>>(), [&Value::from(3), &Value::from(4)]);
    }
}
