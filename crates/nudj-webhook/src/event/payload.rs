//! The documented shapes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An event's data in its documented shape.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// `user.updated`.
    UserUpdated(UserUpdated),
    /// Any other event of the dotted family.
    Engagement(Engagement),
    /// Any event of the activity family.
    Activity(Activity),
    /// An event without a documented shape: its data as it came.
    Unknown(Value),
}

/// `data` of `user.updated`, as the integration page uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserUpdated {
    /// The user.
    #[serde(alias = "userId")]
    pub user_id: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// `data` of the dotted family. Only reward events are documented with their fields; the others name the same things.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Engagement {
    /// Who it is about.
    #[serde(default)]
    pub user: Option<UserRef>,
    /// The reward earned, delivered, redeemed or expired.
    #[serde(default)]
    pub reward: Option<RewardRef>,
    /// The challenge it belongs to.
    #[serde(default)]
    pub challenge: Option<ChallengeRef>,
    /// The achievement earned.
    #[serde(default)]
    pub achievement: Option<AchievementRef>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A user within an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UserRef {
    /// Nudj's id.
    pub id: String,
    /// Your id of this user.
    #[serde(default, alias = "external_id", alias = "external_user_id")]
    pub external_user_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A reward within an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RewardRef {
    /// Nudj's id.
    pub id: String,
    /// Its type.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What it is worth: a number or a text.
    #[serde(default)]
    pub value: Option<Value>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A challenge within an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChallengeRef {
    /// Nudj's id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An achievement within an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AchievementRef {
    /// Nudj's id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A body of the activity family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Activity {
    /// The event's id, the same on every repeat.
    #[serde(default)]
    pub id: Option<String>,
    /// `action`, `challenge`, …
    #[serde(default)]
    pub event_category: Option<String>,
    /// `action-participation`, `challenge-completion`, …: the name.
    pub event_sub_category: String,
    /// The organisation.
    #[serde(default)]
    pub organisation_id: Option<String>,
    /// The community.
    #[serde(default)]
    pub community_id: Option<String>,
    /// The user.
    #[serde(default)]
    pub user_id: Option<String>,
    /// What caused it: for `action-participation` the participation, not the action.
    #[serde(default)]
    pub event_source_id: Option<String>,
    /// What happened; its fields depend on the name.
    #[serde(default)]
    pub payload: Value,
    /// When, as text.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Activity {
    /// The payload of `action-participation`, the one that is documented; `None` for other names or another shape.
    pub fn action_participation(&self) -> Option<ActionParticipation> {
        (self.event_sub_category == "action-participation")
            .then(|| ActionParticipation::deserialize(&self.payload).ok())
            .flatten()
    }
}

/// `payload` of `action-participation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ActionParticipation {
    /// The action.
    pub action_id: String,
    /// Its type, such as `question-multiple-choice`.
    #[serde(default)]
    pub action_type: Option<String>,
    /// The challenge it belongs to.
    #[serde(default)]
    pub challenge_id: Option<String>,
    /// Whether the answer was right.
    #[serde(default)]
    pub is_correct: Option<bool>,
    /// When, as text.
    #[serde(default)]
    pub completed_at: Option<String>,
    /// Points; typed `number` by Nudj, so not always whole.
    #[serde(default)]
    pub points_earned: Option<f64>,
    /// Experience; typed `number` by Nudj, so not always whole.
    #[serde(default)]
    pub xp_earned: Option<f64>,
}
