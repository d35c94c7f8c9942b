//! Which collections there are, and what a record of each has at least.

use serde_json::{Map, Value, json};

use super::{ORGANISATION_ID, users::xp};
use crate::clock::{Millis, iso};

/// A kind of record, besides users. For [`Seed`](crate::Seed) and [`Control::add_record`](crate::Control::add_record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Records {
    /// Challenges.
    Challenges,
    /// Challenge groups.
    ChallengeGroups,
    /// Actions, of challenges or achievements.
    Actions,
    /// Rewards in the catalogue.
    Rewards,
    /// Rewards that users hold (`userId` says who).
    RewardAssets,
    /// Users' entries in giveaways (`userId` says whose).
    RewardEntries,
    /// Communities.
    Communities,
    /// Achievements.
    Achievements,
    /// Leaderboard configurations.
    Leaderboards,
}

impl Records {
    /// As it appears in messages: "Challenge not found".
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Challenges => "Challenge",
            Self::ChallengeGroups => "Challenge group",
            Self::Actions => "Action",
            Self::Rewards => "Reward",
            Self::RewardAssets => "Reward asset",
            Self::RewardEntries => "Reward entry",
            Self::Communities => "Community",
            Self::Achievements => "Achievement",
            Self::Leaderboards => "Leaderboard config",
        }
    }

    /// A record with every field that the documentation requires, `given` laid over it.
    pub(crate) fn complete(self, id: &str, given: Map<String, Value>, now: Millis) -> Value {
        let mut record = json!({
            "id": id,
            "organisationId": ORGANISATION_ID,
            "createdAt": iso(now),
            "updatedAt": iso(now),
        });
        for part in [self.required(now), Value::Object(given)] {
            if let (Some(record), Value::Object(part)) = (record.as_object_mut(), part) {
                record.extend(part.into_iter().filter(|(_, value)| !value.is_null()));
            }
        }
        record
    }

    /// Whether every record of this kind has the field.
    pub(crate) fn requires(self, field: &str) -> bool {
        self.required(0).get(field).is_some()
    }

    fn required(self, now: Millis) -> Value {
        match self {
            Self::Challenges => json!({
                "communityId": "", "additionalCommunityIds": [], "details": {"title": ""}, "progressPeriod": "open",
                "maxCompletionsPerPeriod": 1, "numberOfActions": 0, "actionIds": [], "actionGroups": [], "status": "live",
                "isLinear": false, "unlockPrice": 0, "tags": [], "campaigns": [], "startedCount": 0, "completedCount": 0,
                "uniqueUsersStartedCount": 0, "uniqueUsersCompletedCount": 0, "isGlobalTemplate": false,
                "availableAsTemplateForOrganisations": [], "groupIds": [], "xpConfig": xp(0.0),
                "videoConfig": {"videoUrl": "", "isVideoEnabled": false},
            }),
            Self::ChallengeGroups => json!({
                "communityId": "", "details": {"title": ""}, "type": "sequential", "period": "open", "challengeIds": [],
                "activeAmount": 1, "status": "draft",
            }),
            Self::Actions => json!({
                "communityId": "", "allocationId": "", "allocatedTo": "challenge", "position": 0, "category": "interaction",
                "key": "interaction-external-link", "details": {"title": ""}, "progressPeriod": "open",
                "maxCompletionsPerPeriod": 1, "attributes": {},
                "config": {"isOptional": false, "requiresCorrectAnswer": false},
            }),
            Self::Rewards => json!({
                "communityId": "", "additionalCommunityIds": [], "details": {"title": ""}, "assetPointsPrice": 0,
                "assetPointsSwapValue": 0, "entryPointsPrice": 0, "assetsSupply": 0, "entriesSupply": 0,
                "maxAssetsPerUser": 0, "maxEntriesPerUser": 0, "allocationsType": "assets-only",
                "isSharedAssetsSupply": false, "isSharedEntriesSupply": false, "allocations": [], "redemptionConfig": {},
                "tags": [], "campaigns": [], "status": "draft", "isManualGiveaway": false, "isGlobalTemplate": false,
                "availableAsTemplateForOrganisations": [], "metadata": {}, "createdBy": "", "updatedBy": "",
            }),
            Self::RewardAssets => json!({
                "communityId": "", "rewardId": "", "allocationId": "", "userId": "", "details": {"title": ""},
                "redeemable": {}, "eventCategory": "reward", "eventSubCategory": "reward-distribution", "tags": [],
                "campaigns": [], "metadata": {}, "claimedAt": iso(now),
            }),
            Self::RewardEntries => json!({
                "communityId": "", "rewardId": "", "userId": "", "details": {"title": ""}, "totalEntries": 0,
                "entries": [], "tags": [], "campaigns": [], "status": "pending", "rewardAssetIds": [],
            }),
            Self::Communities => json!({
                "name": "", "slug": "", "communityType": "Brand", "access": "open", "status": "live", "links": {},
                "style": {}, "usersWaiting": [], "verified": true, "tags": [], "campaigns": [],
            }),
            Self::Achievements => json!({
                "details": {"title": ""}, "progressPeriod": "open", "displayMode": "default", "tags": [], "campaigns": [],
                "criteria": {}, "queries": [], "queryDescriptions": {}, "status": "live",
                "availableAsTemplateForOrganisations": [], "isGlobalTemplate": false,
            }),
            Self::Leaderboards => json!({
                "name": "", "metricType": "total-xp", "period": "open", "startsAt": iso(now), "status": "live",
                "conditions": [], "rewardsConfig": [],
            }),
        }
    }
}
