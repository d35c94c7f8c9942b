use serde::{Deserialize, Serialize};

use super::{Extra, Reference, Status};

/// A community.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Community {
    /// Nudj's id.
    pub id: String,
    /// The organisation.
    pub organisation_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its name in addresses.
    pub slug: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Such as `Artist`.
    pub community_type: Option<String>,
    /// Such as `open`.
    pub access: Option<String>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Whether Nudj verified it.
    pub verified: Option<bool>,
    /// Tags.
    pub tags: Option<Vec<Reference>>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}
