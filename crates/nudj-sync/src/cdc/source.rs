//! Where changes come from.

use async_trait::async_trait;

use super::change::{Change, Position};
use crate::Error;

/// Whether a stream goes on where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It does.
    Yes,
    /// What came after the position is not kept any more; a new snapshot is needed.
    Lost,
}

/// What a source had to report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In order; those of one record in the order of their commits.
    pub changes: Vec<Change>,
    /// The place behind all of them, where it is farther than the last change's own.
    pub position: Option<Position>,
    /// The snapshot ends behind these changes: every row that was there has been reported.
    pub snapshot_complete: bool,
    /// With `snapshot_complete`: tables that were asked for and do not exist. None of their records is taken for gone.
    pub missing: Vec<String>,
    /// Tables that were emptied as a whole (TRUNCATE) behind these changes and before `position`.
    pub emptied: Vec<String>,
    /// There are changes that are not or cannot be handed out yet; so an empty batch does not mean that all are.
    pub held_back: bool,
}

/// How far behind Nudj is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// Changes that wait, where the source can count them; of very many, about how many.
    pub changes: Option<u64>,
    /// Bytes of log that the database keeps for this stream, where it knows.
    pub bytes: Option<u64>,
    /// The age of the oldest change that waits, where it is known.
    pub seconds: Option<f64>,
}

/// A stream of a database's changes.
///
/// The pipeline calls [`resume`](Self::resume) or [`begin_snapshot`](Self::begin_snapshot) first, and again after every error;
/// then [`next`](Self::next) over and over, never two of them at once. A future that is dropped loses nothing: the stream is
/// resumed at the last position that was handed out and kept.
#[async_trait]
pub trait ChangeSource: Send {
    /// Goes on behind `after`.
    ///
    /// # Errors
    /// [`Error::Local`]: the database cannot be reached or used. The pipeline tries again.
    async fn resume(&mut self, after: &Position) -> Result<Resumed, Error>;

    /// Starts anew: every row as [`Operation::Snapshot`](super::Operation::Snapshot), then what changed since, without gap and
    /// without double.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    async fn begin_snapshot(&mut self) -> Result<(), Error>;

    /// At most `limit` changes; waits for some, for the source's poll interval at most, and may then be empty.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    async fn next(&mut self, limit: usize) -> Result<Batch, Error>;

    /// Everything up to here is at Nudj, and the position is stored: the database need not keep it.
    ///
    /// # Errors
    /// As [`resume`](Self::resume); it is called again later with a farther position.
    async fn acknowledge(&mut self, upto: &Position) -> Result<(), Error>;

    /// How much waits at this moment.
    ///
    /// # Errors
    /// As [`resume`](Self::resume).
    async fn lag(&mut self) -> Result<Lag, Error>;
}
