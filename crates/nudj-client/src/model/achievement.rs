use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Details, Extra, Period, Reference, Status, open_enum::open_enum};

/// An achievement, as administrators or members see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Achievement {
    /// Nudj's id.
    pub id: String,
    /// The community.
    pub community_id: Option<String>,
    /// Title and texts.
    pub details: Option<Details>,
    /// How often it starts anew.
    pub progress_period: Option<Period>,
    /// Tags.
    pub tags: Option<Vec<Reference>>,
    /// Campaigns.
    pub campaigns: Option<Vec<Reference>>,
    /// What must be reached.
    pub criteria: Option<Value>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Where it stands for the member who asks.
    pub user_state: Option<Value>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

open_enum! {
    /// What a leaderboard counts.
    Metric {
        TotalXp = "total-xp",
        ChallengesCompleted = "total-challenges-completed",
        ChallengesStarted = "total-challenges-started",
        ActionsCompleted = "total-actions-completed",
    }
}

/// How a leaderboard is set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderboardConfig {
    /// Nudj's id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// What it counts.
    pub metric_type: Option<Metric>,
    /// How often it starts anew.
    pub period: Option<Period>,
    /// When it begins, ISO 8601.
    pub starts_at: Option<String>,
    /// When it ends, ISO 8601.
    pub expires_at: Option<String>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Whom it counts.
    pub conditions: Option<Value>,
    /// What the ranks win, as administrators see it.
    pub rewards_config: Option<Value>,
    /// What the ranks win, as members see it.
    pub reward: Option<Value>,
    /// What else came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A leaderboard to be created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewLeaderboard {
    /// Its name, not empty.
    pub name: String,
    /// What it counts.
    pub metric_type: Metric,
    /// When it begins, ISO 8601.
    pub starts_at: String,
    /// Where it stands.
    pub status: Status,
    /// How often it starts anew.
    pub period: Period,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it ends, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Whom it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Value>,
    /// What the ranks win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewards_config: Option<Value>,
}
