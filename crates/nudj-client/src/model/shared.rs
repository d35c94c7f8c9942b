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

/// Addresses of images. What is `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Images {
    /// The main image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_image_url: Option<String>,
    /// A second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_image_url: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Experience points, by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Xp {
    /// All kinds together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// Knowledge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<f64>,
    /// Creativity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creativity: Option<f64>,
    /// Loyalty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loyalty: Option<f64>,
    /// Influence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influence: Option<f64>,
    /// Participation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participation: Option<f64>,
    /// Contribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contribution: Option<f64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NewReward, Reward};

    #[test]
    fn what_is_read_and_written_back_loses_nothing_and_gains_no_null() {
        let details = serde_json::json!({
            "title": "Mug",
            "light": { "primaryImageUrl": "https://a.example/1.png", "tertiaryImageUrl": "https://a.example/3.png" },
        });
        let allocations = serde_json::json!([{ "supply": 5.0, "isPreferred": true }]);
        let reward = serde_json::json!({ "id": "r", "details": details, "allocations": allocations });
        let Reward { details: read, allocations: shares, .. } = serde_json::from_value(reward).unwrap();
        let new = NewReward { details: read, allocations: shares, ..NewReward::default() };
        assert_eq!(
            serde_json::to_value(new).unwrap(),
            serde_json::json!({ "details": details, "allocations": allocations })
        );
        let xp = serde_json::json!({ "total": 3.0, "courage": 1 });
        assert_eq!(serde_json::to_value(serde_json::from_value::<Xp>(xp.clone()).unwrap()).unwrap(), xp);
    }
}
