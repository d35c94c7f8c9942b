use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Details, Extra, Period, open_enum::open_enum};

open_enum! {
    /// What kind of action it is.
    ActionCategory {
        Nudj = "nudj",
        Discord = "discord",
        Facebook = "facebook",
        ImageAnalysis = "imageAnalysis",
        Instagram = "instagram",
        Interaction = "interaction",
        Linkedin = "linkedin",
        Question = "question",
        Platform = "platform",
        Spotify = "spotify",
        Tiktok = "tiktok",
        Twitter = "twitter",
        Youtube = "youtube",
    }
}

/// Something a member does, part of a challenge or achievement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Nudj's id.
    pub id: String,
    /// The community.
    pub community_id: Option<String>,
    /// The challenge or achievement it belongs to.
    pub allocation_id: Option<String>,
    /// Which of the two.
    pub allocated_to: Option<String>,
    /// Its place.
    pub position: Option<f64>,
    /// Its kind.
    pub category: Option<ActionCategory>,
    /// What exactly, `question-multiple-choice`.
    pub key: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// How often it starts anew.
    pub progress_period: Option<Period>,
    /// Settings that depend on `key`.
    pub attributes: Option<Value>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An action to be created. Its `attributes` depend on `key`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewAction {
    /// The community.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// The challenge or achievement it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// Which of the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_to: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<ActionCategory>,
    /// What exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Settings that depend on `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
    /// Title and texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// What else to send.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a member did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionParticipation {
    /// Nudj's id.
    pub id: String,
    /// The community.
    pub community_id: Option<String>,
    /// The action.
    pub action_id: Option<String>,
    /// The member.
    pub user_id: Option<String>,
    /// The action's kind.
    pub action_category: Option<ActionCategory>,
    /// The action's key.
    pub action_key: Option<String>,
    /// What became of it.
    pub participation_statuses: Option<Vec<ParticipationStatus>>,
    /// When, ISO 8601.
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What became of a participation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParticipationStatus {
    /// Nudj's id.
    pub id: Option<String>,
    /// Whether it counts.
    pub criteria_met: Option<bool>,
    /// Such as `pending`.
    pub status: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A participation to be submitted: the documented way for a member to take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewActionParticipation {
    /// The action.
    pub action_id: String,
    /// The answer, an object with the action's `key`.
    pub action_input: Value,
    /// The challenge or achievement.
    pub allocation_id: String,
    /// The community, where it is another than the action's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// A try by an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_preview: Option<bool>,
}
