use serde::{Deserialize, Serialize};

use super::{Action, Details, Extra, Period, Reference, Status, Xp, open_enum::open_enum};

/// A challenge, as administrators or members see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Nudj's id.
    pub id: String,
    /// The organisation.
    pub organisation_id: Option<String>,
    /// The community it belongs to.
    pub community_id: Option<String>,
    /// Other communities that show it.
    pub additional_community_ids: Option<Vec<String>>,
    /// Title and texts.
    pub details: Option<Details>,
    /// Where it stands.
    pub status: Option<Status>,
    /// How often progress starts anew.
    pub progress_period: Option<Period>,
    /// How often it may be completed in one period.
    pub max_completions_per_period: Option<f64>,
    /// How many actions it has.
    pub number_of_actions: Option<f64>,
    /// Their ids.
    pub action_ids: Option<Vec<String>>,
    /// The actions themselves; for members only.
    pub actions: Option<Vec<Action>>,
    /// Whether actions must be done in order.
    pub is_linear: Option<bool>,
    /// Keys it takes to unlock.
    pub unlock_price: Option<f64>,
    /// Tags.
    pub tags: Option<Vec<Reference>>,
    /// Campaigns.
    pub campaigns: Option<Vec<Reference>>,
    /// How often it was started.
    pub started_count: Option<f64>,
    /// How often it was completed.
    pub completed_count: Option<f64>,
    /// Experience it gives.
    pub xp_config: Option<Xp>,
    /// When it begins, ISO 8601.
    pub starts_at: Option<String>,
    /// When it ends, ISO 8601.
    pub expires_at: Option<String>,
    /// When it was made, ISO 8601.
    pub created_at: Option<String>,
    /// When it was last changed, ISO 8601.
    pub updated_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A challenge to be created. Seed only: no page of the public reference documents the call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewChallenge {
    /// The community it belongs to.
    pub community_id: String,
    /// Title and texts.
    pub details: Details,
    /// The title once more, as the seed gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What else to send.
    #[serde(flatten)]
    pub extra: Extra,
}

impl NewChallenge {
    /// A challenge that is a title in a community.
    pub fn titled(title: impl Into<String>, community_id: impl Into<String>) -> Self {
        let title = title.into();
        Self {
            community_id: community_id.into(),
            details: Details::titled(title.clone()),
            title: Some(title),
            ..Self::default()
        }
    }
}

/// Changes to a challenge. What is `None` stays as it is; rarer fields go into `extra`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChallengeUpdate {
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Title and texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Other communities that show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_community_ids: Option<Vec<String>>,
    /// Whether actions may be skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_skippable: Option<bool>,
    /// Whether actions must be done in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_linear: Option<bool>,
    /// Ids of tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Ids of campaigns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaigns: Option<Vec<String>>,
    /// When it begins, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// When it ends, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whether it is shown first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub featured: Option<bool>,
    /// How often progress starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_period: Option<Period>,
    /// How often it may be completed in one period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completions_per_period: Option<f64>,
    /// Keys it takes to unlock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlock_price: Option<f64>,
    /// What else to change.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What unlocking a challenge answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unlocked {
    /// Keys that were spent.
    pub amount_debited: Option<f64>,
    /// Where the challenge stands for the user now.
    pub challenge_status: Option<String>,
}

/// What starting a challenge answers; the path is named in the reference, its schema is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChallengeStarted {
    /// Whether it has begun.
    pub started: Option<bool>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What completing a challenge answers; the path is named in the reference, the shape is the seed's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChallengeCompleted {
    /// Whether it is complete.
    pub completed: Option<bool>,
    /// The score that was given.
    pub score: Option<f64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

open_enum! {
    /// In which order a group shows its challenges.
    GroupType {
        Random = "random",
        Sequential = "sequential",
    }
}

/// A group of challenges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeGroup {
    /// Nudj's id.
    pub id: String,
    /// The community it belongs to.
    pub community_id: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// In which order.
    #[serde(rename = "type")]
    pub group_type: Option<GroupType>,
    /// How often it starts anew.
    pub period: Option<Period>,
    /// Its challenges' ids.
    pub challenge_ids: Option<Vec<String>>,
    /// Its challenges; for members only.
    pub challenges: Option<Vec<Challenge>>,
    /// How many are shown at once.
    pub active_amount: Option<f64>,
    /// Where it stands.
    pub status: Option<Status>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A group to be created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewChallengeGroup {
    /// The community it belongs to.
    pub community_id: String,
    /// Title (required) and texts.
    pub details: Details,
    /// Where it stands; the API's default is `draft`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// In which order.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub group_type: Option<GroupType>,
    /// How often it starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Its challenges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_ids: Option<Vec<String>>,
    /// How many are shown at once, 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_amount: Option<u32>,
}

/// Changes to a group. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChallengeGroupUpdate {
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// In which order.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub group_type: Option<GroupType>,
    /// How often it starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Its challenges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_ids: Option<Vec<String>>,
    /// How many are shown at once, 1 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_amount: Option<u32>,
    /// Title and texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}
