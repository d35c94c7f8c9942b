use serde::{Deserialize, Serialize};

use super::{Extra, Xp, open_enum::open_enum, page::null_as_default};

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Nudj's id.
    pub id: String,
    /// The organisation the user belongs to.
    pub organisation_id: Option<String>,
    /// Unique name.
    pub username: Option<String>,
    /// Email address.
    pub email: Option<String>,
    /// The name others see.
    pub display_name: Option<String>,
    /// The full name.
    pub full_name: Option<String>,
    /// A text about oneself.
    pub bio: Option<String>,
    /// Address of the picture.
    pub profile_picture_url: Option<String>,
    /// Your own id for the user.
    pub external_user_id: Option<String>,
    /// Language and region.
    pub locale: Option<String>,
    /// Points to spend.
    pub points: Option<f64>,
    /// Keys to unlock challenges with.
    pub keys: Option<f64>,
    /// Experience.
    pub xp: Option<Xp>,
    /// What the user did, by community.
    pub community_data: Option<Vec<CommunityData>>,
    /// Roles, such as `orgId-…:role-admin`.
    pub roles: Option<Vec<String>>,
    /// Whether the user never signed in.
    pub is_anonymous: Option<bool>,
    /// When the user came to be, ISO 8601.
    pub created_at: Option<String>,
    /// When the record was last changed, ISO 8601; absent where a user reads herself.
    pub updated_at: Option<String>,
    /// Level; only where a user reads herself.
    pub level: Option<f64>,
    /// Completed challenges; only where a user reads herself.
    pub completed_challenges: Option<f64>,
    /// Earned rewards; only where a user reads herself.
    pub earned_rewards: Option<f64>,
    /// Giveaways entered; only where a user reads herself.
    pub entered_giveaways: Option<f64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a user did in one community.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommunityData {
    /// The community.
    pub community_id: Option<String>,
    /// Challenges completed there.
    pub challenges_completed: Option<f64>,
    /// Achievements completed there.
    pub achievements_completed: Option<f64>,
    /// Points earned there.
    pub points: Option<f64>,
    /// Experience earned there.
    pub xp: Option<Xp>,
    /// Whether its rules were accepted.
    pub has_accepted_rules: Option<bool>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A user to be created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewUser {
    /// Email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Unique name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The name others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Address of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_picture_url: Option<String>,
    /// Your own id for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_user_id: Option<String>,
}

/// Changes to a user. What is `None` stays as it is. Seed only: not in the public reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserUpdate {
    /// The name others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// A text about oneself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// Address of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_picture_url: Option<String>,
}

/// What deleting a user answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletedUser {
    /// Whether it worked.
    pub success: Option<bool>,
    /// What else the API has to say.
    pub message: Option<String>,
    /// The anonymised record, where one is sent.
    pub user: Option<User>,
}

/// What a bulk creation answers. Seed only: not in the public reference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkCreated {
    /// One entry per user given, by `index`.
    #[serde(deserialize_with = "null_as_default")]
    pub results: Vec<BulkResult>,
}

/// What became of one user of a bulk creation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkResult {
    /// The user's place in the list that was sent, from 0.
    pub index: usize,
    /// Whether it was created.
    pub success: bool,
    /// The user.
    pub user: Option<User>,
    /// Why not.
    pub error: Option<BulkError>,
}

/// Why one user of a bulk creation was not created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BulkError {
    /// The API's message.
    pub message: Option<String>,
    /// The API's code, `CONFLICT`.
    pub code: Option<String>,
}

open_enum! {
    /// Which way points go.
    Direction {
        /// To the user.
        Credit = "credit",
        /// From the user.
        Debit = "debit",
    }
}

/// Points to give or take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewPointsTransaction {
    /// How many, 1 to 1,000,000.
    pub amount: f64,
    /// Which way.
    pub direction: Direction,
    /// Your own unique reference, 1 to 200 characters: the one key of the documented API under which a repeat can be recognized.
    pub external_transaction_reference: String,
    /// Needed where the organisation has several communities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
}

/// A points transaction as it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointsTransaction {
    /// Nudj's id.
    pub id: String,
    /// The user.
    pub user_id: Option<String>,
    /// The community.
    pub community_id: Option<String>,
    /// Which way.
    pub accounting_direction: Option<Direction>,
    /// How many.
    pub amount: Option<f64>,
    /// Such as `pending`.
    pub status: Option<String>,
    /// Your own reference.
    pub external_transaction_reference: Option<String>,
    /// When, ISO 8601.
    pub created_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a points transaction answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PointsTransacted {
    /// Whether it worked.
    pub success: Option<bool>,
    /// What else the API has to say.
    pub message: Option<String>,
    /// The transaction.
    pub transaction: Option<PointsTransaction>,
}

/// All statistics of one user. Here the id is called `userId`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserDetails {
    /// Nudj's id.
    pub user_id: String,
    /// Unique name.
    pub username: Option<String>,
    /// Email address.
    pub email: Option<String>,
    /// The name others see.
    pub display_name: Option<String>,
    /// Address of the picture.
    pub profile_picture_url: Option<String>,
    /// When the user came to be, ISO 8601.
    pub created_at: Option<String>,
    /// What the user has and did.
    pub stats: Option<UserStats>,
    /// What else came: `xpBreakdown`, `achievements`, `challenges`, rewards …
    #[serde(flatten)]
    pub extra: Extra,
}

/// What a user has and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserStats {
    /// Points.
    pub total_points: Option<f64>,
    /// Experience.
    #[serde(rename = "totalXP")]
    pub total_xp: Option<f64>,
    /// Level.
    pub current_level: Option<f64>,
    /// Achievements completed.
    pub total_achievements: Option<f64>,
    /// Challenges completed.
    pub total_challenges_completed: Option<f64>,
    /// Challenges started.
    pub total_challenges_started: Option<f64>,
    /// Rewards earned.
    pub total_rewards_earned: Option<f64>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}
