//! One round: both sides are read, and what the plan says is written and noted.

use std::collections::BTreeSet;

use super::{
    Bidirectional, Conflict, Fields, Link, Side, State, Synced, Version, Winner,
    plan::{Plan, Times, plan},
};
use crate::{Error, wall_clock::millis};

/// How a round ended.
pub(super) enum Round {
    /// The record is on both sides, and the same.
    There,
    /// It is on neither.
    Gone,
    /// A side changed meanwhile.
    Again,
    /// It would be a deletion, and none was to be made.
    Held,
}

/// A record as a round met it.
struct Met<'k> {
    key: &'k str,
    local: Option<Version>,
    remote: Option<Version>,
    /// What is noted of it so far.
    noted: Option<Link>,
    at: i64,
}

impl Met<'_> {
    fn conflict(&self, winner: Winner, outcome: Option<Fields>) -> Conflict {
        let said = |side: &Option<Version>| side.as_ref().map(|version| version.fields.clone());
        let (local, remote) = (said(&self.local), said(&self.remote));
        Conflict { key: self.key.to_owned(), local, remote, outcome, winner, at: self.at }
    }
}

impl<L: Side, R: Side, S: State> Bidirectional<L, R, S> {
    pub(super) async fn round(&self, key: &str, synced: &mut Synced, deletes: bool) -> Result<Round, Error> {
        let noted = self.state.link(key).await?;
        let id = |of: fn(&Link) -> &Option<String>| noted.as_ref().and_then(|link| of(link).as_deref());
        let local = self.local.read(key, id(|link| &link.local_id)).await?;
        let remote = self.remote.read(key, id(|link| &link.remote_id)).await?;
        let met = Met { key, local, remote, noted, at: millis(&*self.clock) };
        let times = Times { now: met.at, skew: self.config.clock_skew };
        match plan(key, met.local.as_ref(), met.remote.as_ref(), met.noted.as_ref(), &self.policy, times) {
            Plan::Delete { .. } if !deletes && (met.local.is_some() || met.remote.is_some()) => Ok(Round::Held),
            Plan::Delete { conflict } => {
                self.delete_both(met, conflict, synced).await?;
                Ok(Round::Gone)
            }
            Plan::Write { local, remote, conflict } => {
                let outcome = local.as_ref().or(remote.as_ref());
                let conflict = conflict.map(|winner| met.conflict(winner, outcome.cloned()));
                let is_whole = self.write_both(met, local, remote, conflict, synced).await?;
                Ok(if is_whole { Round::There } else { Round::Again })
            }
        }
    }

    async fn delete_both(&self, mut met: Met<'_>, is_lost: bool, synced: &mut Synced) -> Result<(), Error> {
        if let Some(version) = &met.local {
            self.local.delete(met.key, version).await?;
            synced.wrote_local = true;
        }
        if let Some(version) = &met.remote {
            self.remote.delete(met.key, version).await?;
            synced.wrote_remote = true;
        }
        if met.noted.is_none() {
            return Ok(()); // There never was any.
        }
        let mut conflict = is_lost.then(|| met.conflict(Winner::Deletion, None));
        self.note(&mut met, Link { deleted: true, ..Link::default() }, &mut conflict, synced).await
    }

    /// Nudj first: what it adds by itself comes here in the same round. False when a side changed meanwhile.
    async fn write_both(
        &self,
        mut met: Met<'_>,
        to_local: Option<Fields>,
        to_remote: Option<Fields>,
        mut conflict: Option<Conflict>,
        synced: &mut Synced,
    ) -> Result<bool, Error> {
        let (key, is_new) = (met.key, met.remote.is_none());
        let written = write(&self.remote, key, to_remote.as_ref(), met.remote.clone(), &mut synced.wrote_remote);
        let Some(mut there) = written.await? else { return Ok(false) };
        let mut to_local = with_added(to_local, to_remote.as_ref(), met.local.as_ref(), &there);
        if let (Some(sent), Some(here)) = (&to_remote, met.local.clone()) {
            let lacks_some = is_new && sent.keys().any(|name| !there.fields.contains_key(name));
            if lacks_some || to_local.is_some() {
                // Noted before anything else can fail: the next sync must not take our own write for a foreign edit.
                let part = halfway(&here, to_local.as_ref(), &there, is_new);
                self.note(&mut met, part, &mut conflict, synced).await?;
            }
            if lacks_some {
                let written = write(&self.remote, key, Some(sent), Some(there), &mut synced.wrote_remote);
                let Some(whole) = written.await? else { return Ok(false) };
                there = whole;
                to_local = with_added(to_local, Some(sent), Some(&here), &there);
            }
        }
        let written = write(&self.local, key, to_local.as_ref(), met.local.clone(), &mut synced.wrote_local);
        let Some(here) = written.await? else { return Ok(false) };
        let whole =
            Link { local: here.fields, remote: there.fields, local_id: here.id, remote_id: there.id, deleted: false };
        self.note(&mut met, whole, &mut conflict, synced).await?;
        Ok(true)
    }

    /// Saves what is new; a conflict goes along once.
    async fn note(
        &self,
        met: &mut Met<'_>,
        link: Link,
        conflict: &mut Option<Conflict>,
        synced: &mut Synced,
    ) -> Result<(), Error> {
        if met.noted.as_ref() != Some(&link) || conflict.is_some() {
            self.state.save(met.key, &link, conflict.as_ref()).await?;
            synced.conflict = conflict.take().or(synced.conflict.take());
            met.noted = Some(link);
        }
        Ok(())
    }
}

/// What Nudj added by itself to what was written, such as a username, goes to your side as well. Only what is new: two sides that
/// each put a value into their own form would otherwise write it back and forth.
fn with_added(
    to_local: Option<Fields>,
    written: Option<&Fields>,
    local: Option<&Version>,
    there: &Version,
) -> Option<Fields> {
    let Some(written) = written else { return to_local };
    let mut fields = to_local.clone().or_else(|| local.map(|local| local.fields.clone()))?;
    let before = fields.len();
    for (name, value) in there.fields.iter().filter(|(name, _)| !written.contains_key(*name)) {
        fields.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if fields.len() > before { Some(fields) } else { to_local }
}

/// The link for the time when Nudj was written to and your side was not yet. What is still to come counts as changed on the side that has
/// it, and all else as in sync.
fn halfway(local: &Version, to_local: Option<&Fields>, there: &Version, is_new: bool) -> Link {
    let planned = to_local.unwrap_or(&local.fields);
    let (mut was_local, mut was_remote) = (local.fields.clone(), there.fields.clone());
    let names: BTreeSet<&String> = local.fields.keys().chain(planned.keys()).chain(there.fields.keys()).collect();
    for name in names {
        let here = local.fields.get(name);
        if planned.get(name) != here {
            // Still to come here.
            match here {
                Some(value) => was_remote.insert(name.clone(), value.clone()),
                None => was_remote.remove(name),
            };
        } else if is_new && !there.fields.contains_key(name) {
            // Still to go there.
            was_local.remove(name);
        }
    }
    Link {
        local: was_local,
        remote: was_remote,
        local_id: local.id.clone(),
        remote_id: there.id.clone(),
        deleted: false,
    }
}

/// The record as it is then; `None` when it was changed by somebody else.
async fn write<W: Side>(
    side: &W,
    key: &str,
    fields: Option<&Fields>,
    was: Option<Version>,
    wrote: &mut bool,
) -> Result<Option<Version>, Error> {
    let Some(fields) = fields else { return Ok(was) };
    let written = side.write(key, fields, was.as_ref()).await?;
    *wrote |= written.is_some() && written != was;
    Ok(written)
}
