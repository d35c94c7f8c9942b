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
    // What neither had and one has now was taken away by nobody, whoever wrote last: at a first meeting, or when a first write was cut
    // off halfway, that is most of the record.
    let is_new = |name: &&str| !was_local.contains_key(*name) && !was_remote.contains_key(*name);
    let (new_here, here): (BTreeSet<_>, BTreeSet<_>) = changed(was_local, &local.fields)
        .into_iter()
        .partition(|name| is_new(name) && !remote.fields.contains_key(*name));
    let (new_there, there): (BTreeSet<_>, BTreeSet<_>) = changed(was_remote, &remote.fields)
        .into_iter()
        .partition(|name| is_new(name) && !local.fields.contains_key(*name));
    let joined_local = overlay(&local.fields, &remote.fields, &new_there);
    let joined_remote = overlay(&remote.fields, &local.fields, &new_here);
    let write = |side: &Version, fields: Fields| (side.fields != fields).then_some(fields);
    let both_say = |from_here: &BTreeSet<&str>, from_there: &BTreeSet<&str>, conflict: Option<Winner>| Plan::Write {
        local: write(local, overlay(&joined_local, &remote.fields, from_there)),
        remote: write(remote, overlay(&joined_remote, &local.fields, from_here)),
        conflict,
    };
    if there.is_empty() || here.is_empty() {
        // At most one was changed: nothing is lost.
        return both_say(&here, &there, None);
    }
    let touched: BTreeSet<&str> = here.union(&there).copied().collect();
    let none = BTreeSet::new();
    if touched.iter().all(|name| local.fields.get(*name) == remote.fields.get(*name)) {
        return both_say(&none, &none, None);
    }
    // A field that nobody touched stays as each side has it: where they differ, one cannot take what the other has.
    let whole = |winner: Winner| match winner {
        Winner::Local => both_say(&touched, &none, Some(winner)),
        _ => both_say(&none, &touched, Some(winner)),
    };
    match policy {
        Policy::LastWriterWins => whole(later(local, &text(&local.fields), remote, &text(&remote.fields), times)),
        Policy::PreferLocal => whole(Winner::Local),
        Policy::PreferRemote => whole(Winner::Remote),
        Policy::Callback(decide) => {
            let mut fields = decide(key, local, remote);
            fields.retain(|_, value| !value.is_empty());
            let outcome = |side: &Version| write(side, fields.clone());
            Plan::Write { local: outcome(local), remote: outcome(remote), conflict: Some(Winner::Merged) }
        }
        Policy::FieldMerge => {
            let (mut from_here, mut from_there, mut conflict) = (BTreeSet::new(), BTreeSet::new(), None);
            for name in &touched {
                let (mine, theirs) = (local.fields.get(*name), remote.fields.get(*name));
                let winner = match (here.contains(name), there.contains(name)) {
                    (true, false) => Winner::Local,
                    (false, true) => Winner::Remote,
                    _ if mine == theirs => continue,
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
            both_say(&from_here, &from_there, conflict)
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
