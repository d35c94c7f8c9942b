use std::{collections::BTreeSet, fmt, sync::Arc, time::UNIX_EPOCH};

use super::{
    BidirectionalConfig, Conflict, Fields, Link, Policy, Side, State, Version, Winner,
    plan::{Plan, Times, plan},
};
use crate::{Error, SystemClock, WallClock, under_way::UnderWay};

/// Keys looked at in one go.
const PAGE: u32 = 100;

/// How a round ended.
enum Round {
    Done,
    /// A side changed meanwhile.
    Again,
    /// It would be a deletion, and none was to be made.
    Held,
}

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Your side was written to, or a record deleted there.
    pub wrote_local: bool,
    /// Nudj was written to, or a record deleted there.
    pub wrote_remote: bool,
    /// Both had changed, differently.
    pub conflict: Option<Conflict>,
}

/// Keeps two sides the same.
pub struct Bidirectional<L, R, S> {
    local: L,
    remote: R,
    state: S,
    policy: Policy,
    config: BidirectionalConfig,
    clock: Arc<dyn WallClock>,
    under_way: UnderWay,
}

impl<L, R, S> fmt::Debug for Bidirectional<L, R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bidirectional")
            .field("policy", &self.policy)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<L: Side, R: Side, S: State> Bidirectional<L, R, S> {
    /// With the default numbers.
    pub fn new(local: L, remote: R, state: S, policy: Policy) -> Self {
        let (config, clock) = (BidirectionalConfig::default(), Arc::new(SystemClock));
        Self { local, remote, state, policy, config, clock, under_way: UnderWay::default() }
    }

    /// Sets the numbers.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub fn config(mut self, config: BidirectionalConfig) -> Result<Self, Error> {
        config.validate()?;
        self.config = config;
        Ok(self)
    }

    /// Reads the time of day here.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Your side.
    pub fn local(&self) -> &L {
        &self.local
    }

    /// What is remembered, for conflicts and tombstones.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Makes both sides the same for this record.
    ///
    /// # Errors
    /// [`Error::Local`], [`Error::Remote`]: a side; the next sync goes on. [`Error::UnderWay`]: another call works on this key.
    /// [`Error::Restless`]: the record changed in every round. [`Error::Store`], [`Error::Corrupt`]: the state.
    pub async fn sync(&self, key: &str) -> Result<Synced, Error> {
        // Nothing is held here.
        Ok(self.sync_or_hold(key, true).await?.unwrap_or_default())
    }

    /// `None` where it would be a deletion and `deletes` is false.
    async fn sync_or_hold(&self, key: &str, deletes: bool) -> Result<Option<Synced>, Error> {
        let _place = self.under_way.enter(key).ok_or_else(|| Error::UnderWay { id: key.to_owned() })?;
        let mut synced = Synced::default();
        for _ in 0..self.config.max_rounds {
            match self.round(key, &mut synced, deletes).await? {
                Round::Done => return Ok(Some(synced)),
                Round::Held => return Ok(None),
                Round::Again => {}
            }
        }
        Err(Error::Restless { key: key.to_owned() })
    }

    /// Syncs every record that was synced before: this finds edits and deletions that nothing announced. Gives how many were written
    /// to and how many failed.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Corrupt`]: the state. [`Error::TooManyGone`]: see
    /// [`max_gone_share`](BidirectionalConfig::max_gone_share). A side that fails is counted and logged.
    pub async fn sync_known(&self) -> Result<(u64, u64), Error> {
        let (mut counts, mut after) = ((0, 0), String::new());
        loop {
            let keys = self.state.keys(&after, PAGE).await?;
            let Some(last) = keys.last() else { return Ok(counts) };
            after.clone_from(last);
            // Deletions wait until it is known how many there are.
            let held = self.sync_all(&keys, false, &mut counts).await?;
            let (gone, of) = (held.len(), keys.len());
            if gone > self.config.most_gone(of) {
                return Err(Error::TooManyGone { gone, of });
            }
            self.sync_all(&held, true, &mut counts).await?;
        }
    }

    /// Adds up how many were written to and how many failed. Gives those that were held.
    async fn sync_all(&self, keys: &[String], deletes: bool, counts: &mut (u64, u64)) -> Result<Vec<String>, Error> {
        let (written, failed) = counts;
        let mut held = Vec::new();
        for key in keys {
            match self.sync_or_hold(key, deletes).await {
                Ok(Some(synced)) => {
                    *written = written.saturating_add(u64::from(synced.wrote_local || synced.wrote_remote))
                }
                Ok(None) => held.push(key.clone()),
                Err(error @ (Error::Store { .. } | Error::Corrupt { .. })) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "a record is not in sync");
                    *failed = failed.saturating_add(1);
                }
            }
        }
        Ok(held)
    }

    async fn round(&self, key: &str, synced: &mut Synced, deletes: bool) -> Result<Round, Error> {
        let link = self.state.link(key).await?;
        let id = |of: fn(&Link) -> &Option<String>| link.as_ref().and_then(|link| of(link).as_deref());
        let local = self.local.read(key, id(|link| &link.local_id)).await?;
        let remote = self.remote.read(key, id(|link| &link.remote_id)).await?;
        let now = self.now();
        let times = Times { now, skew: self.config.clock_skew };
        let conflict = |winner: Winner, outcome| Conflict {
            key: key.to_owned(),
            local: local.as_ref().map(|version| version.fields.clone()),
            remote: remote.as_ref().map(|version| version.fields.clone()),
            outcome,
            winner,
            at: now,
        };
        let mut noted = link.clone();
        let (new, met) = match plan(key, local.as_ref(), remote.as_ref(), link.as_ref(), &self.policy, times) {
            Plan::Delete { .. } if !deletes && (local.is_some() || remote.is_some()) => return Ok(Round::Held),
            Plan::Delete { conflict: lost } => {
                if let Some(version) = &local {
                    self.local.delete(key, version).await?;
                    synced.wrote_local = true;
                }
                if let Some(version) = &remote {
                    self.remote.delete(key, version).await?;
                    synced.wrote_remote = true;
                }
                if link.is_none() {
                    return Ok(Round::Done); // There never was any.
                }
                (Link { deleted: true, ..Link::default() }, lost.then(|| conflict(Winner::Deletion, None)))
            }
            Plan::Write { local: to_local, remote: to_remote, conflict: winner } => {
                let outcome = to_local.as_ref().or(to_remote.as_ref()).cloned();
                let mut met = winner.map(|winner| conflict(winner, outcome));
                let (here, there) = (local.clone(), remote.clone());
                let Some(mut there) =
                    write(&self.remote, key, to_remote.as_ref(), there, &mut synced.wrote_remote).await?
                else {
                    return Ok(Round::Again);
                };
                let mut to_local = with_added(to_local, to_remote.as_ref(), local.as_ref(), &there);
                if let (Some(sent), Some(here)) = (&to_remote, &local) {
                    let is_new = remote.is_none();
                    let rest = is_new && sent.keys().any(|name| !there.fields.contains_key(name));
                    if rest || to_local.is_some() {
                        // Noted before anything else can fail: the next sync must not take our own write for a foreign edit.
                        let part = halfway(here, to_local.as_ref(), &there, is_new);
                        self.state.save(key, &part, met.as_ref()).await?;
                        synced.conflict = met.take().or(synced.conflict.take());
                        noted = Some(part);
                    }
                    if rest {
                        let created = Some(there);
                        let Some(whole) =
                            write(&self.remote, key, Some(sent), created, &mut synced.wrote_remote).await?
                        else {
                            return Ok(Round::Again);
                        };
                        there = whole;
                        to_local = with_added(to_local, Some(sent), local.as_ref(), &there);
                    }
                }
                let Some(here) = write(&self.local, key, to_local.as_ref(), here, &mut synced.wrote_local).await?
                else {
                    return Ok(Round::Again);
                };
                let new = Link {
                    local: here.fields,
                    remote: there.fields,
                    local_id: here.id,
                    remote_id: there.id,
                    deleted: false,
                };
                (new, met)
            }
        };
        if noted.as_ref() != Some(&new) || met.is_some() {
            self.state.save(key, &new, met.as_ref()).await?;
        }
        synced.conflict = met.or(synced.conflict.take());
        Ok(Round::Done)
    }

    fn now(&self) -> i64 {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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
