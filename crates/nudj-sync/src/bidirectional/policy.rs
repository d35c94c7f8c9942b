use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Fields, Version};

/// The key, your version, Nudj's version, and what the record should be.
pub type Decide = Arc<dyn Fn(&str, &Version, &Version) -> Fields + Send + Sync>;

/// Decides where both sides were changed. What one side added alone since the last sync, or at a first meeting has alone, goes to the other
/// whatever the policy; so a first write that was cut off halfway takes nothing away.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Policy {
    /// The record that was changed last, as a whole (the seed's).
    #[default]
    LastWriterWins,
    /// Field by field: what one side changed is taken; a field that both changed is the last writer's.
    FieldMerge,
    /// Your record, as a whole.
    PreferLocal,
    /// Nudj's record, as a whole.
    PreferRemote,
    /// What this function says the record should be. It must give the same for the same two versions, and not wait.
    Callback(Decide),
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastWriterWins => "LastWriterWins",
            Self::FieldMerge => "FieldMerge",
            Self::PreferLocal => "PreferLocal",
            Self::PreferRemote => "PreferRemote",
            Self::Callback(_) => "Callback",
        })
    }
}

/// Which side's word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Winner {
    /// Yours.
    Local,
    /// Nudj's.
    Remote,
    /// Some of each, or what the callback said.
    Merged,
    /// The deletion.
    Deletion,
}

/// Both sides were changed, differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Which record.
    pub key: String,
    /// What your side said; `None` for deleted.
    pub local: Option<Fields>,
    /// What Nudj said; `None` for deleted.
    pub remote: Option<Fields>,
    /// What stands; `None` for deleted.
    pub outcome: Option<Fields>,
    /// Whose word that is.
    pub winner: Winner,
    /// When it was found, in milliseconds since 1970.
    pub at: i64,
}
