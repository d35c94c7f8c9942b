//! What a source reports, whatever database it reads.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A row: columns by name, as JSON.
pub type Row = Map<String, Value>;

/// A place in a source's stream. Only the source that made it can read it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position(String);

impl Position {
    /// For a source of your own.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As the source wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which record: its table and its primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// The table; `schema.table` where the schema is not the default one.
    pub table: String,
    /// The primary key as text; of several columns, a JSON array.
    pub key: String,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.key)
    }
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Operation {
    /// It was there when the snapshot was taken.
    Snapshot,
    /// It was inserted.
    Insert,
    /// It was changed.
    Update,
    /// It was deleted.
    Delete,
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which record.
    pub record: RecordKey,
    /// What happened.
    pub operation: Operation,
    /// The row before, as far as the source knows it: the key's columns at least where it was deleted, unless its table is gone as well.
    pub old: Option<Row>,
    /// The row after; `None` where it was deleted. A column that is missing here was not told and is to be left as it is.
    pub new: Option<Row>,
    /// The place behind this change; `None` where the stream cannot be resumed there.
    pub position: Option<Position>,
}

impl Change {
    /// A column of the row after, or of the row before where there is none after.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Value> {
        self.new.as_ref().or(self.old.as_ref())?.get(name)
    }
}

/// FNV-1a: what is kept must be the same in every version of this program.
#[must_use]
pub(super) fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The text of a key made of `values`: alone as it is, several as a JSON array.
#[must_use]
pub(super) fn key_text(values: &[Value]) -> String {
    match values {
        [Value::String(text)] => text.clone(),
        [one] => one.to_string(),
        several => Value::Array(several.to_vec()).to_string(),
    }
}
