use std::{fmt, sync::Arc};

use super::{BidirectionalConfig, Conflict, Policy, Side, State, round::Round};
use crate::{Error, SystemClock, WallClock, under_way::UnderWay};

/// Keys read in one go, and records that are there of which a share may be deleted.
const PAGE: u32 = 100;

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
    pub(super) local: L,
    pub(super) remote: R,
    pub(super) state: S,
    pub(super) policy: Policy,
    pub(super) config: BidirectionalConfig,
    pub(super) clock: Arc<dyn WallClock>,
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
    /// [`Error::Restless`]: the record changed in every round. [`Error::Store`], [`Error::Corrupt`]: the state. [`Error::Config`]: an
    /// empty key.
    pub async fn sync(&self, key: &str) -> Result<Synced, Error> {
        if key.is_empty() {
            return Err(Error::config("key", "must not be empty"));
        }
        Ok(self.sync_or_hold(key, true).await?.1)
    }

    /// How the last round ended, which is held only where it would be a deletion and `deletes` is false.
    async fn sync_or_hold(&self, key: &str, deletes: bool) -> Result<(Round, Synced), Error> {
        let _place = self.under_way.enter(key).ok_or_else(|| Error::UnderWay { id: key.to_owned() })?;
        let mut synced = Synced::default();
        for _ in 0..self.config.max_rounds {
            match self.round(key, &mut synced, deletes).await? {
                Round::Again => {}
                ended => return Ok((ended, synced)),
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
        // Deletions wait until it is known how many there are, of a page's worth of records that are there: tombstones and failures
        // say nothing about what is gone.
        let (mut held, mut there) = (Vec::new(), 0);
        loop {
            let keys = self.state.keys(&after, PAGE).await?;
            there += self.sync_all(&keys, &mut held, &mut counts).await?;
            if keys.is_empty() || there >= PAGE as usize {
                let (gone, of) = (held.len(), std::mem::take(&mut there));
                if gone > self.config.most_gone(of) {
                    return Err(Error::TooManyGone { gone, of });
                }
                self.delete_all(&std::mem::take(&mut held), &mut counts).await?;
            }
            let Some(last) = keys.last() else { return Ok(counts) };
            after.clone_from(last);
        }
    }

    /// Puts what would be deleted to `held`, and gives how many are there on one side at least.
    async fn sync_all(&self, keys: &[String], held: &mut Vec<String>, counts: &mut (u64, u64)) -> Result<usize, Error> {
        let mut there = 0;
        for key in keys {
            match self.sync_and_count(key, false, counts).await? {
                Some(Round::There) => there += 1,
                Some(Round::Held) => {
                    held.push(key.clone());
                    there += 1;
                }
                Some(Round::Gone | Round::Again) | None => {}
            }
        }
        Ok(there)
    }

    async fn delete_all(&self, keys: &[String], counts: &mut (u64, u64)) -> Result<(), Error> {
        for key in keys {
            self.sync_and_count(key, true, counts).await?;
        }
        Ok(())
    }

    /// Adds up how many were written to and how many failed; `None` for one that failed.
    async fn sync_and_count(
        &self,
        key: &str,
        deletes: bool,
        (written, failed): &mut (u64, u64),
    ) -> Result<Option<Round>, Error> {
        match self.sync_or_hold(key, deletes).await {
            Ok((ended, synced)) => {
                *written = written.saturating_add(u64::from(synced.wrote_local || synced.wrote_remote));
                Ok(Some(ended))
            }
            Err(error @ (Error::Store { .. } | Error::Corrupt { .. })) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a record is not in sync");
                *failed = failed.saturating_add(1);
                Ok(None)
            }
        }
    }
}
