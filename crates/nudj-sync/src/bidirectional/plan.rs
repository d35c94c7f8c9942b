//! What a sync should do: two versions and what they were in, a plan out. No clock, no store.

use std::{cmp::Ordering, collections::BTreeSet, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{Fields, Link, Policy, Version, Winner};

/// What each side should say. `None`: leave it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Both should be gone. `conflict`: an edit is lost by it.
    Delete { conflict: bool },
    /// Write what is there; an outcome that both have already needs only the link.
    Write { local: Option<Fields>, remote: Option<Fields>, conflict: Option<Winner> },
}

/// What the decision needs to know of the time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: i64,
    pub(super) skew: Duration,
}

pub(super) fn plan(
    key: &str,
    local: Option<&Version>,
    remote: Option<&Version>,
    link: Option<&Link>,
    policy: &Policy,
    times: Times,
) -> Plan {
    let gone = link.is_some_and(|link| link.deleted || local.is_none() || remote.is_none());
    match (local, remote) {
        (None, None) => Plan::Delete { conflict: false },
        (local, remote) if gone => {
            let edited = |side: Option<&Version>, was: Option<&Fields>| {
                side.is_some_and(|side| was.is_some_and(|was| side.fields != *was))
            };
            let known = link.filter(|link| !link.deleted);
            let conflict =
                edited(local, known.map(|link| &link.local)) || edited(remote, known.map(|link| &link.remote));
            Plan::Delete { conflict }
        }
        (Some(local), None) => Plan::Write { local: None, remote: Some(local.fields.clone()), conflict: None },
        (None, Some(remote)) => Plan::Write { local: Some(remote.fields.clone()), remote: None, conflict: None },
        (Some(local), Some(remote)) => both(key, local, remote, link, policy, times),
    }
}

fn both(key: &str, local: &Version, remote: &Version, link: Option<&Link>, policy: &Policy, times: Times) -> Plan {
    let none = Fields::new();
    let was_local = link.map_or(&none, |link| &link.local);
    let was_remote = link.map_or(&none, |link| &link.remote);
    let here = changed(was_local, &local.fields);
    let there = changed(was_remote, &remote.fields);
    let (to_remote, to_local) =
        (overlay(&remote.fields, &local.fields, &here), overlay(&local.fields, &remote.fields, &there));
    let write = |side: &Version, fields: Fields| (side.fields != fields).then_some(fields);
    if there.is_empty() || here.is_empty() {
        // At most one was changed: nothing is lost.
        return Plan::Write { local: write(local, to_local), remote: write(remote, to_remote), conflict: None };
    }
    if local.fields == remote.fields {
        return Plan::Write { local: None, remote: None, conflict: None };
    }
    let whole = |winner: Winner, fields: &Fields| Plan::Write {
        local: write(local, fields.clone()),
        remote: write(remote, fields.clone()),
        conflict: Some(winner),
    };
    match policy {
        Policy::LastWriterWins => match later(local, &text(&local.fields), remote, &text(&remote.fields), times) {
            Winner::Local => whole(Winner::Local, &local.fields),
            winner => whole(winner, &remote.fields),
        },
        Policy::PreferLocal => whole(Winner::Local, &local.fields),
        Policy::PreferRemote => whole(Winner::Remote, &remote.fields),
        Policy::Callback(decide) => {
            let mut fields = decide(key, local, remote);
            fields.retain(|_, value| !value.is_empty());
            whole(Winner::Merged, &fields)
        }
        Policy::FieldMerge => {
            let (mut from_here, mut from_there, mut conflict) = (BTreeSet::new(), BTreeSet::new(), None);
            for name in here.union(&there) {
                let (mine, theirs) = (local.fields.get(*name), remote.fields.get(*name));
                let winner = match (here.contains(name), there.contains(name)) {
                    (true, false) => Winner::Local,
                    (false, true) => Winner::Remote,
                    _ if mine == theirs => continue,
                    // A first meeting: what only one side has was changed by nobody.
                    _ if link.is_none() && theirs.is_none() => Winner::Local,
                    _ if link.is_none() && mine.is_none() => Winner::Remote,
                    _ => {
                        let value = |value: Option<&String>| value.cloned().unwrap_or_default();
                        let winner = later(local, &value(mine), remote, &value(theirs), times);
                        conflict = Some(
                            conflict.map_or(winner, |so_far| if so_far == winner { winner } else { Winner::Merged }),
                        );
                        winner
                    }
                };
                if winner == Winner::Local {
                    from_here.insert(*name)
                } else {
                    from_there.insert(*name)
                };
            }
            Plan::Write {
                local: write(local, overlay(&local.fields, &remote.fields, &from_there)),
                remote: write(remote, overlay(&remote.fields, &local.fields, &from_here)),
                conflict,
            }
        }
    }
}

/// Names of fields that are not what they were.
fn changed<'f>(was: &'f Fields, is: &'f Fields) -> BTreeSet<&'f str> {
    let names = was.keys().chain(is.keys());
    names.filter(|name| was.get(*name) != is.get(*name)).map(String::as_str).collect()
}

/// `under` with the named fields as `over` has them.
fn overlay(under: &Fields, over: &Fields, names: &BTreeSet<&str>) -> Fields {
    let mut fields = under.clone();
    for name in names {
        match over.get(*name) {
            Some(value) => fields.insert((*name).to_owned(), value.clone()),
            None => fields.remove(*name),
        };
    }
    fields
}

/// Who wrote later, else whose value has the higher hash.
fn later(local: &Version, mine: &str, remote: &Version, theirs: &str, times: Times) -> Winner {
    // A clock that is fast wins nothing for longer than it takes for the others to get there.
    let at = |version: &Version| version.updated_at.map(|at| at.min(times.now));
    let skew = u64::try_from(times.skew.as_millis()).unwrap_or(u64::MAX);
    let order = match (at(local), at(remote)) {
        (Some(here), Some(there)) if here.abs_diff(there) > skew => here.cmp(&there),
        _ => Ordering::Equal,
    };
    match order.then_with(|| hash(mine).cmp(&hash(theirs))) {
        Ordering::Less => Winner::Remote,
        _ => Winner::Local,
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// One text for the whole record: names and values cannot be shifted into each other.
fn text(fields: &Fields) -> String {
    fields.iter().map(|(name, value)| format!("{}:{name}={}:{value};", name.len(), value.len())).collect()
}

#[cfg(test)]
mod tests;
