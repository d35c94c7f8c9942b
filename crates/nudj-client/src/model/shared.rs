use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::open_enum::open_enum;

/// Fields this crate does not know, as they came.
pub type Extra = Map<String, Value>;

open_enum! {
    /// Where a challenge, reward, achievement or campaign stands.
    Status {
        Archived = "archived",
        Draft = "draft",
        Expired = "expired",
        Live = "live",
        Scheduled = "scheduled",
    }
}

open_enum! {
    /// How often progress starts anew.
    Period {
        Daily = "daily",
        Weekly = "weekly",
        Monthly = "monthly",
        Yearly = "yearly",
        Open = "open",
    }
}

/// Title and texts of something shown to users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Images for light mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light: Option<Images>,
    /// Images for dark mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dark: Option<Images>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Details {
    /// Details that are a title only.
    pub fn titled(title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..Self::default() }
    }
}

/// Addresses of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// The main image.
    pub primary_image_url: Option<String>,
    /// A second one.
    pub secondary_image_url: Option<String>,
}

/// Experience points, by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Xp {
    /// All kinds together.
    pub total: Option<f64>,
    /// Knowledge.
    pub knowledge: Option<f64>,
    /// Creativity.
    pub creativity: Option<f64>,
    /// Loyalty.
    pub loyalty: Option<f64>,
    /// Influence.
    pub influence: Option<f64>,
    /// Participation.
    pub participation: Option<f64>,
    /// Contribution.
    pub contribution: Option<f64>,
}

/// A tag or campaign: an id for administrators, the whole object for members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// The id alone.
    Id(String),
    /// The object, with its `id` inside.
    Object(Extra),
    /// Anything else, kept.
    Other(Value),
}

/// What a call answers that only says whether it worked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Acknowledgement {
    /// Whether it worked.
    pub success: Option<bool>,
    /// What else the API has to say.
    pub message: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}
