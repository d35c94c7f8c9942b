use std::fmt;

use serde::{Deserialize, Serialize};

/// One record of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<R> {
    /// Where it stands in the input, for reports: a line number.
    pub line: u64,
    /// The record, or the field that is wrong and why.
    pub record: Result<R, (String, String)>,
}

impl<R> Row<R> {
    /// A record that can be read.
    pub fn new(line: u64, record: R) -> Self {
        Self { line, record: Ok(record) }
    }

    /// A row that cannot: which field, and what is wrong with it.
    pub fn invalid(line: u64, field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { line, record: Err((field.into(), problem.into())) }
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was created; its id.
    Created {
        /// Nudj's id.
        id: String,
    },
    /// It is there, and no answer says that this run created it: it was there before, or an answer was lost.
    Found {
        /// Nudj's id.
        id: String,
    },
    /// The row cannot be read; nothing was sent.
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It was not created, or it is not known whether it was.
    Failed {
        /// Whether it may succeed later with nothing changed.
        retryable: bool,
        /// Why.
        problem: String,
    },
}

impl Outcome {
    /// Whether the record is at Nudj.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Created { .. } | Self::Found { .. })
    }

    /// In one word: `created`, `found`, `invalid`, `failed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Found { .. } => "found",
            Self::Invalid { .. } => "invalid",
            Self::Failed { .. } => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { id } => write!(f, "created as {id}"),
            Self::Found { id } => write!(f, "is there as {id}"),
            Self::Invalid { field, problem } => write!(f, "{field}: {problem}"),
            Self::Failed { retryable: true, problem } => write!(f, "failed for now: {problem}"),
            Self::Failed { retryable: false, problem } => write!(f, "failed: {problem}"),
        }
    }
}

/// What a run tells about each record, once it is settled.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<'r, R> {
    /// The row's line.
    pub line: u64,
    /// The record, where it could be read.
    pub record: Option<&'r R>,
    /// What became of it.
    pub outcome: &'r Outcome,
    /// The totals, this record included, those of earlier runs with the same checkpoint too.
    pub totals: Totals,
}

/// How many records ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// [`Outcome::Created`].
    pub created: u64,
    /// [`Outcome::Found`].
    pub found: u64,
    /// [`Outcome::Invalid`].
    pub invalid: u64,
    /// [`Outcome::Failed`].
    pub failed: u64,
}

impl Totals {
    /// All of them.
    #[must_use]
    pub fn records(&self) -> u64 {
        [self.created, self.found, self.invalid, self.failed].into_iter().fold(0, u64::saturating_add)
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Created { .. } => &mut self.created,
            Outcome::Found { .. } => &mut self.found,
            Outcome::Invalid { .. } => &mut self.invalid,
            Outcome::Failed { .. } => &mut self.failed,
        };
        *count = count.saturating_add(1);
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Over all runs with this checkpoint.
    pub totals: Totals,
    /// Records that earlier runs had settled.
    pub resumed: u64,
    /// Whether the input was read to its end; else it was stopped, and the next run goes on.
    pub finished: bool,
}
