use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Details, Extra, Reference, Status, open_enum::open_enum, page::null_as_default};

/// A reward of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reward {
    /// Nudj's id.
    pub id: String,
    /// The organisation.
    pub organisation_id: Option<String>,
    /// The community.
    pub community_id: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// Points it costs.
    pub asset_points_price: Option<f64>,
    /// Points a giveaway entry costs.
    pub entry_points_price: Option<f64>,
    /// How many there are.
    pub assets_supply: Option<f64>,
    /// How many giveaway entries there are.
    pub entries_supply: Option<f64>,
    /// How many one user may hold.
    pub max_assets_per_user: Option<f64>,
    /// How many entries one user may hold.
    pub max_entries_per_user: Option<f64>,
    /// Where it goes.
    pub allocations: Option<Vec<Allocation>>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Tags.
    pub tags: Option<Vec<Reference>>,
    /// Campaigns.
    pub campaigns: Option<Vec<Reference>>,
    /// When it was made, ISO 8601.
    pub created_at: Option<String>,
    /// When it was last changed, ISO 8601.
    pub updated_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A share of a reward set aside for a purpose. What is `None` is not sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Allocation {
    /// Nudj's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How many are set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supply: Option<f64>,
    /// How many are given at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_to_distribute: Option<f64>,
    /// How many were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distributed: Option<f64>,
    /// Whether it is for the shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_shop: Option<bool>,
    /// Whether it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_live: Option<bool>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A reward to be created, or changes to one. What is `None` is left to the API; rarer fields go into `extra`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewReward {
    /// The community; not for an update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<String>,
    /// Title and texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Points it costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_points_price: Option<f64>,
    /// Points a giveaway entry costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_points_price: Option<f64>,
    /// How it is given, such as `assets-only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations_type: Option<String>,
    /// How it is redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redemption_config: Option<Value>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assets_supply: Option<f64>,
    /// How many giveaway entries there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries_supply: Option<f64>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Vec<Allocation>>,
    /// When it begins, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// When it ends, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What else to send.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A reward that a user holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RewardAsset {
    /// Nudj's id.
    pub id: String,
    /// The reward.
    pub reward_id: Option<String>,
    /// The user.
    pub user_id: Option<String>,
    /// The community.
    pub community_id: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// How to redeem it.
    pub redeemable: Option<Value>,
    /// When it was claimed, ISO 8601.
    pub claimed_at: Option<String>,
    /// When it was redeemed, ISO 8601.
    pub redeemed_at: Option<String>,
    /// Until when it can be, ISO 8601.
    pub expires_at: Option<String>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A user's entries in a giveaway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RewardEntry {
    /// Nudj's id.
    pub id: String,
    /// The reward.
    pub reward_id: Option<String>,
    /// The user.
    pub user_id: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// How many entries.
    pub total_entries: Option<f64>,
    /// Such as `pending`.
    pub status: Option<String>,
    /// When it was looked at, ISO 8601.
    pub checked_at: Option<String>,
    /// When it was drawn, ISO 8601.
    pub drawn_at: Option<String>,
    /// What was won.
    pub reward_assets: Option<Vec<RewardAsset>>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

open_enum! {
    /// How rewards are spread over users.
    Mechanism {
        All = "all",
        Priority = "priority",
        Random = "random",
        Select = "select",
    }
}

/// One reward to be handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DistributedReward {
    /// The reward.
    pub reward_id: String,
    /// Such as `assets`.
    pub allocation_type: String,
    /// How many.
    pub quantity: u32,
}

/// Rewards, points and experience for many users at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManualDistribution {
    /// The rewards.
    pub rewards: Vec<DistributedReward>,
    /// Experience for each.
    pub xp_to_distribute: u32,
    /// Points for each.
    pub points_to_distribute: u32,
    /// How it is spread.
    pub distribution_mechanism: Mechanism,
    /// How many rewards each gets, above 0.
    pub amount_to_distribute: u32,
    /// To whom; at least one.
    pub user_ids: Vec<String>,
    /// The community.
    pub community_id: String,
}

/// What a manual distribution answers: the one documented answer that names partial failures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Distributed {
    /// Whether it worked.
    pub success: Option<bool>,
    /// What else the API has to say.
    pub message: Option<String>,
    /// How many users got theirs.
    pub users_processed: Option<f64>,
    /// Who did not.
    #[serde(deserialize_with = "null_as_default")]
    pub failed_user_ids: Vec<String>,
}

/// A winner of a giveaway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Winner {
    /// The user.
    pub user_id: String,
    /// How many.
    pub quantity: u32,
}
