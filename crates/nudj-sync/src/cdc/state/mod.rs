//! What a pipeline remembers: its position, which record is which at Nudj, and the dead letters.

#[macro_use]
mod operations;
mod memory;
#[cfg(feature = "cdc-postgres")]
mod postgres;
#[cfg(feature = "cdc-sqlite")]
mod sqlite;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::memory::MemoryState;
#[cfg(feature = "cdc-postgres")]
pub use self::postgres::PostgresState;
#[cfg(feature = "cdc-sqlite")]
pub use self::sqlite::SqliteState;
#[cfg(doc)]
use super::Mapping;
use super::change::{Change, Position, RecordKey};
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
use super::{change::Operation, lenient};
use crate::Error;

/// Where a stream stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here is at Nudj; `None` before the first snapshot.
    pub position: Option<Position>,
    /// Counts the snapshots.
    pub generation: i64,
}

/// What is known of a record before it is worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its id at Nudj.
    pub remote_id: Option<String>,
    /// It was begun before and no id is known: it may be at Nudj, look before it is created.
    pub in_doubt: bool,
    /// The [hints](Mapping::hint) of all changes that may have created it, one of which it bears at Nudj.
    pub hints: Vec<String>,
    /// There are dead letters of it.
    pub buried: bool,
}

/// How much of a table a snapshot showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which table.
    pub table: String,
    /// Records that are at Nudj and were not shown.
    pub unseen: u64,
    /// Of how many that were at Nudj before.
    pub of: u64,
}

/// A record that is about to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Which.
    pub record: RecordKey,
    /// By what it can be found at Nudj, should its id not come back; see [`Mapping::hint`].
    pub hint: Option<String>,
}

/// A change that Nudj does not take, put aside so that the others can go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Names it, for [`CdcState::replay`]: `table/key`. A record has one at most, for its newest change that was not taken.
    pub id: String,
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, milliseconds since 1970.
    pub died_at: i64,
    /// The change.
    pub change: Change,
}

/// What a pipeline has got done since the last time; written as a whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The place reached, if it moved; written only while `generation` is the present one.
    pub position: Option<Position>,
    /// The generation that the position belongs to.
    pub generation: i64,
    /// Ids that records have at Nudj now; `None` for those that are gone there.
    pub links: Vec<(RecordKey, Option<String>)>,
    /// New dead letters.
    pub buried: Vec<DeadLetter>,
    /// Records that got through: their dead letters are out of date and go.
    pub healed: Vec<RecordKey>,
}

impl Progress {
    /// Takes what is `older`, where there is nothing newer.
    pub(super) fn put_behind(&mut self, older: Self) {
        if self.position.is_none() {
            (self.position, self.generation) = (older.position, older.generation);
        }
        let is_new = |record: &RecordKey| self.links.iter().all(|(other, _)| other != record);
        let mut links: Vec<_> = older.links.into_iter().filter(|(record, _)| is_new(record)).collect();
        links.append(&mut self.links);
        self.links = links;
        let settled_since = |record: &RecordKey| {
            self.healed.contains(record) || self.buried.iter().any(|letter| letter.change.record == *record)
        };
        let buried: Vec<_> = older.buried.into_iter().filter(|letter| !settled_since(&letter.change.record)).collect();
        let healed: Vec<_> = older.healed.into_iter().filter(|record| !settled_since(record)).collect();
        self.buried.extend(buried);
        self.healed.extend(healed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.position.is_none() && self.links.is_empty() && self.buried.is_empty() && self.healed.is_empty()
    }
}

/// Keeps a pipeline's state. Every method is atomic, and done when it returns.
#[async_trait]
pub trait CdcState: Send + Sync {
    /// Where the stream stands.
    ///
    /// # Errors
    /// [`Error::Store`] and [`Error::Corrupt`], for all methods; the pipeline tries again.
    async fn standing(&self) -> Result<Standing, Error>;

    /// Forgets the position and counts the generation up. Links stay.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn begin_snapshot(&self) -> Result<Standing, Error>;

    /// Notes, before anything is sent, that work on these records begins; what is known of each, in the same order. The generation
    /// is noted with a record where it is higher than the one noted before.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn begin(&self, records: &[Beginning], generation: i64) -> Result<Vec<Known>, Error>;

    /// Writes what got done.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn commit(&self, progress: &Progress) -> Result<(), Error>;

    /// Which record has this id at Nudj.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn owner(&self, table: &str, remote_id: &str) -> Result<Option<String>, Error>;

    /// Records that were begun in an older generation and not since, ordered, behind `after`. A record stays among them until it is
    /// begun in this generation or unlinked.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn unseen(&self, generation: i64, after: Option<&RecordKey>, limit: usize) -> Result<Vec<RecordKey>, Error>;

    /// Of each table, how many records with an id at Nudj are among the [`unseen`](Self::unseen), and of how many that had one before
    /// this generation.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn shown(&self, generation: i64) -> Result<Vec<Shown>, Error>;

    /// Dead letters, oldest first. One that cannot be read says so in its reason, and its change only names the record.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// How many dead letters there are.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn dead_letter_count(&self) -> Result<u64, Error>;

    /// Asks the pipeline to try a dead letter again; it stays until it got through. False when there is none of this id.
    ///
    /// # Errors
    /// As [`standing`](Self::standing); [`Error::Corrupt`] where it cannot be read.
    async fn replay(&self, id: &str) -> Result<bool, Error>;

    /// Drops a dead letter for good. False when there is none of this id.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn discard(&self, id: &str) -> Result<bool, Error>;

    /// Dead letters that are asked for, oldest first, without those that cannot be read.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    async fn asked_for(&self, limit: usize) -> Result<Vec<DeadLetter>, Error>;
}

#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
fn failed(error: impl Into<crate::BoxError>) -> Error {
    Error::store("CDC state", error)
}

/// Id, reason, attempts, when, table, key, change.
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
type LetterRow = (String, String, i64, i64, String, String, String);

/// A dead letter as it was kept, and whether its change can be read. One that cannot only names its record: it can be looked at and
/// discarded, and holds up no other.
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
fn read_letter((id, reason, attempts, died_at, table, key, change): LetterRow) -> (DeadLetter, bool) {
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    match lenient::change(&change) {
        Ok(change) => (DeadLetter { id, reason, attempts, died_at, change }, true),
        Err(error) => {
            let reason = format!("{reason}; its change cannot be read ({error}), discard it");
            let record = RecordKey { table, key };
            let change = Change { record, operation: Operation::Snapshot, old: None, new: None, position: None };
            (DeadLetter { id, reason, attempts, died_at, change }, false)
        }
    }
}

/// Hints are kept one a line, each once.
#[cfg(any(feature = "cdc-sqlite", feature = "cdc-postgres"))]
fn read_hints(text: Option<&str>) -> Vec<String> {
    let mut hints: Vec<String> =
        text.unwrap_or_default().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    hints.sort_unstable();
    hints.dedup();
    hints
}
